// Tables that Python's csv module wrote, in its dialects and with fields that no table should have,
// are read back the same or refused by line. MICREC_TEST_ALL=1 (tests/run.sh --all) has the test
// make 10,000 of them, with a new seed; MICREC_CSV_FILES and MICREC_CSV_SEED say how many and
// which.
#include <simdjson.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/interactions_reader.h"
#include "io/tables/line_reader.h"
#include "tests/io/files.h"
#include "tests/support/command.h"

namespace micrec {
namespace {

using Element = simdjson::dom::element;

std::string from_environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::optional<std::string> text_of(Element element) {
  if (element.is_null()) return std::nullopt;
  return std::string(std::string_view(element));
}

std::string_view trim(std::string_view value) {
  const std::size_t first = value.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return value.substr(first, value.find_last_not_of(" \t") - first + 1);
}

/// Whether a rating is what Python's float() makes of the text, which is no number where empty.
bool is_rating(const std::optional<double>& got, const std::optional<std::string>& written) {
  if (!written || trim(*written).empty()) return !got;
  const std::string value(trim(*written));
  return got && *got == std::strtod(value.c_str(), nullptr);
}

struct Row {
  std::string user;
  std::string item;
  std::optional<std::int64_t> timestamp;
  std::optional<double> rating;
};

Quotes quotes_of(std::string_view word) {
  if (word == "auto") return Quotes::automatic;
  EXPECT_TRUE(word == "twice" || word == "none") << word;
  return word == "none" ? Quotes::none : Quotes::twice;
}

class Dialects : public testing::Test {
 protected:
  /// What is wrong with the way in which a file was read, or nothing.
  std::string read(Element expected) {
    const std::string path = folder_ / std::string(std::string_view(expected["file"]));
    InteractionsOptions options;
    options.columns = std::string_view(expected["columns"]);
    options.separator = std::string_view(expected["separator"]);
    options.quotes = quotes_of(std::string_view(expected["quotes"]));
    std::vector<Row> rows;
    try {
      const InteractionsSummary summary =
          for_each_interaction(path, options, [&](const Interaction& got) {
            rows.push_back(
                {std::string(got.user), std::string(got.item), got.timestamp, got.rating});
          });
      ++read_;
      const std::string wrong = compare(rows, expected["rows"], summary.trimmed_keys);
      const simdjson::dom::array also = expected["also"];
      return wrong.empty() || also.size() == 0 ? wrong : compare(rows, also, summary.trimmed_keys);
    } catch (const Error& error) {
      ++refused_;
      const bool tame = expected["tame"];
      if (tame) return text("refused a tame file: ", error.what());
      return is_by_line(error, path, std::int64_t(expected["lines"]))
                 ? ""
                 : text("not refused by line: ", error.what());
    }
  }

  /// `told`: the keys of which the summary says that spaces around them are left out.
  static std::string compare(const std::vector<Row>& got, simdjson::dom::array expected,
                             std::int64_t told) {
    if (got.size() != expected.size())
      return text("got ", got.size(), " rows of ", expected.size());
    std::int64_t trimmed = 0;
    for (std::size_t row = 0; row < got.size(); ++row) {
      const Element wanted = expected.at(row);
      const std::string_view keys[] = {got[row].user, got[row].item};
      for (std::size_t i = 0; i < 2; ++i) {
        const std::string_view written = wanted.at(i);
        if (keys[i] == written) continue;
        if (keys[i] != trim(written))
          return text("got ", excerpt(keys[i]), " of ", excerpt(written));
        ++trimmed;
      }
      const std::string time = text_of(wanted.at(2)).value_or("none");
      const std::string got_time =
          got[row].timestamp ? std::to_string(*got[row].timestamp) : "none";
      if (got_time != time) return text("got the time ", got_time, " of ", time);
      if (!is_rating(got[row].rating, text_of(wanted.at(3))))
        return text("a wrong rating in row ", row);
    }
    return trimmed > told ? text("did not tell of ", trimmed, " trimmed keys") : "";
  }

  static bool is_by_line(const Error& error, const std::string& path, std::int64_t lines) {
    const std::string_view message = error.what();
    if (error.cause() != Cause::data || !message.starts_with(path + ":")) return false;
    std::int64_t line = 0;
    const char* from = message.data() + path.size() + 1;
    const auto end = std::from_chars(from, message.data() + message.size(), line).ptr;
    return end != from && *end == ':' && line >= 1 && line <= lines;
  }

  const TemporaryFolder folder_;
  std::int64_t read_ = 0;
  std::int64_t refused_ = 0;
};

TEST_F(Dialects, AreReadBackTheSameOrRefusedByLine) {
  const bool all = from_environment("MICREC_TEST_ALL", "0") == "1";
  const std::string files = from_environment("MICREC_CSV_FILES", all ? "10000" : "600");
  const std::string seed = from_environment(
      "MICREC_CSV_SEED", (all ? text(std::random_device()()) : std::string("11")).c_str());
  std::printf("MICREC_CSV_SEED=%s\n", seed.c_str());
  run_python("io/csv_dialects.py", {folder_.path(), files, seed});
  LineReader expected(folder_ / "expected.jsonl");
  simdjson::dom::parser parser;
  std::string_view line;
  while (expected.next(&line)) {
    const Element file = parser.parse(line.data(), line.size());
    const std::string wrong = read(file);
    if (wrong.empty()) continue;
    ADD_FAILURE() << wrong << "\nof " << line << "\nwith MICREC_CSV_SEED=" << seed << " in\n"
                  << file_contents(folder_ / std::string(std::string_view(file["file"])));
  }
  std::printf("%s files with seed %s: %s read, %s refused\n", files.c_str(), seed.c_str(),
              with_commas(read_).c_str(), with_commas(refused_).c_str());
  EXPECT_EQ(std::to_string(read_ + refused_), files);
  EXPECT_GT(3 * read_, refused_) << "nearly all files were refused";
}

}  // namespace
}  // namespace micrec
