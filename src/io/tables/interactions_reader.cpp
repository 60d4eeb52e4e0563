#include "io/tables/interactions_reader.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/parallel.h"
#include "base/text.h"
#include "io/tables/interaction_delivery.h"
#include "io/tables/line_reader.h"
#include "io/tables/table_shape.h"

namespace micrec {
namespace {

constexpr const char* kKindsOfFile =
    ".csv, .tsv, .inter, .json, .jsonl or .txt, each also with .gz, .bz2, .xz or .zst";

/// The ending of a file's name in small letters, ".csv" of "Food.CSV.gz".
std::string kind_of_name(const std::string& path) {
  std::string name = small_letters(std::filesystem::path(path).filename().string());
  for (const std::string_view packed : {".gz", ".bz2", ".xz", ".zst"}) {
    if (name.ends_with(packed)) {
      name.resize(name.size() - packed.size());
      break;
    }
  }
  return std::filesystem::path(name).extension().string();
}

std::string parse_separator(const std::string& separator) {
  if (separator == "tab" || separator == "\\t") return "\t";
  if (separator == "space") return " ";
  constexpr std::size_t kLongest = 8;
  if (separator.size() > kLongest || separator.find_first_of("\"\r\n") != std::string::npos) {
    throw Error(Cause::usage, "separator ", excerpt(separator),
                ": expected one character or a few, without quotes and line ends, tab or space");
  }
  return separator;
}

void read_lists(LineReader lines, Delivery& delivery) {
  std::string_view line;
  while (lines.next(&line)) {
    std::string_view user;
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      const auto number = parse_integer(word);
      if (!number || *number < 0) {
        throw lines.error("expected whole numbers 'user item item ...', got ", excerpt(word),
                          "; of a table say the columns, --columns=USER,ITEM[,TIMESTAMP[,RATING]], "
                          "or name it .csv or .tsv");
      }
      if (user.empty()) {
        user = word;
      } else {
        delivery.deliver(lines, {{user, false}, {word, false}, {}, {}, {}, lines.line_number()});
      }
    }
  }
  if (lines.line_number() == 0) refuse_empty(lines.path(), "the file is empty");
  if (delivery.summary().interactions == 0) refuse_empty(lines.path(), "no line has an item");
}

/// Reads a file whose name does not say what is in it, by what is in it.
class ByContent {
 public:
  ByContent(const LineReader& lines, const InteractionsOptions& options, const ColumnNames& columns)
      : path_(lines.path()),
        is_text_file_(kind_of_name(lines.path()) == ".txt"),
        options_(options),
        columns_(columns),
        start_(lines.start()),
        sample_(first_lines(start_, lines.line_feed(), lines.start_is_all())) {}

  void read(LineReader lines, Delivery& delivery) const {
    std::string& why = delivery.summary().why;
    const std::string_view first = sample_.empty() ? "" : trim(sample_.front());
    if (first.starts_with('{') || first.starts_with('[')) {
      why = "by its content: its first line begins with a bracket";
      return read_interaction_objects(std::move(lines), columns_, delivery);
    }
    const NumberLines numbers = number_lines(sample_);
    const bool asks_for_table = columns_.given || options_.split_column;
    if (numbers == NumberLines::lists && !asks_for_table) {
      why = "by its content: lines of whole numbers with another user each, or of any length";
      return read_as_lists(std::move(lines), delivery);
    }
    if (numbers == NumberLines::doubtful && !asks_for_table) {
      throw Error(
          Cause::data, path_, ":1: it is in doubt whether ", excerpt(sample_.front()),
          " is a record of a table or a list 'user item item ...'; of a table say the columns: "
          "--columns=USER,ITEM[,TIMESTAMP[,RATING]] as numbers from 1, or give it a header line "
          "such as 'user_id item_id rating'; a list may be written as a .csv of user_id,item_id");
    }
    const auto separator = separator_of(numbers);
    if (separator) {
      why = numbers == NumberLines::table
                ? "by its content: all lines are as long, and their first numbers come again"
            : columns_.given ? "as it has columns"
                             : "by its content: all lines have as many fields";
      return read_interaction_table(std::move(lines), {*separator, false, options_.quotes},
                                    columns_, delivery);
    }
    if (!is_text_file_ && !columns_.given) {
      throw Error(Cause::usage, path_, ": unknown kind of file; expected ", kKindsOfFile,
                  ", or a table whose fields --separator tells");
    }
    read_as_lists(std::move(lines), delivery);
  }

 private:
  void read_as_lists(LineReader lines, Delivery& delivery) const {
    if (columns_.given || delivery.wants_rating() || options_.split_column) {
      throw Error(Cause::usage, path_,
                  ": its lines are read as 'user item item ...', which have neither columns nor "
                  "ratings nor a split; leave --columns, --min_rating and --split=column out, or "
                  "say how a table is written: --separator");
    }
    if (delivery.summary().why.empty()) delivery.summary().why = kByName;
    delivery.summary().format = "LightGCN's lines 'user item item ...'";
    read_lists(std::move(lines), delivery);
  }

  /// What separates a table's fields. Tabs, commas and single spaces are taken, all else is asked
  /// about. Nothing where it is no table.
  std::optional<std::string> separator_of(NumberLines numbers) const {
    const auto likely = likely_separator(sample_);
    if (!likely) return std::nullopt;
    if (*likely == "\t" || *likely == ",") return likely;
    if (*likely == " ") {
      const bool is_table = columns_.given || numbers == NumberLines::table || has_header(" ");
      return is_table ? likely : std::nullopt;
    }
    throw Error(Cause::data, path_, ":1: the fields seem to be separated by '", *likely, "': give ",
                separator_flag(*likely));
  }

  bool has_header(std::string_view separator) const {
    for (const std::string_view field : fields_of(sample_.front(), separator)) {
      const Names& names = names_of(Role::user);
      if (std::ranges::find(names, small_letters(field)) != names.end()) return true;
    }
    return false;
  }

  std::string path_;
  bool is_text_file_;
  const InteractionsOptions& options_;
  const ColumnNames& columns_;
  std::string start_;
  std::vector<std::string_view> sample_;  // in start_
};

}  // namespace

InteractionsSummary for_each_part(const std::string& path, const InteractionsOptions& options,
                                  const std::vector<UseInteractions>& uses) {
  const ColumnNames columns = parse_columns(options.columns);
  if (!columns.of(Role::label).empty() && !options.split_column) {
    throw Error(Cause::usage, "columns ", excerpt(options.columns),
                " name a split, which only --split=column reads");
  }
  const std::string separator = parse_separator(options.separator);
  const std::string kind = kind_of_name(path);
  Delivery delivery(options, uses);
  std::string& why = delivery.summary().why;
  LineReader lines(path);
  const bool is_json = kind == ".json" || kind == ".jsonl" || kind == ".ndjson";
  if (is_json && !separator.empty()) {
    throw Error(Cause::usage, path, ": a JSON file has no separator; leave --separator out");
  }
  if (is_json) {
    why = kByName;
    read_interaction_objects(std::move(lines), columns, delivery);
  } else if (!separator.empty()) {
    why = "as --separator is given";
    read_interaction_table(std::move(lines), {separator, true, options.quotes}, columns, delivery);
  } else if (kind == ".csv" || kind == ".tsv" || kind == ".inter") {
    why = kByName;
    const char* between = kind == ".csv" ? "," : "\t";
    read_interaction_table(std::move(lines), {between, false, options.quotes}, columns, delivery);
  } else {
    const ByContent content(lines, options, columns);
    content.read(std::move(lines), delivery);
  }
  return delivery.summary();
}

InteractionsSummary for_each_interaction(const std::string& path,
                                         const InteractionsOptions& options,
                                         const std::function<void(const Interaction&)>& use) {
  const auto use_all = [&use](std::span<const Interaction> part) {
    for (const Interaction& interaction : part) use(interaction);
  };
  const ComputeThreads alone(1);  // `use` is called by the caller's thread
  return for_each_part(path, options, {use_all});
}

}  // namespace micrec
