#include "base/description.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <ostream>
#include <system_error>
#include <utility>

#include "base/text.h"

namespace micrec {

namespace {
constexpr std::size_t kTextColumns = 100;
}  // namespace

void print_title(std::ostream& out, const std::string& path, const std::string& what) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  out << path << ": " << what << ", "
      << (error ? "size unknown" : in_bytes(static_cast<double>(bytes))) << "\n";
}

void print_row(std::ostream& out, const std::string& label, const std::string& value,
               std::size_t label_columns) {
  out << label << std::string(label_columns - std::min(label_columns - 1, label.size()), ' ')
      << value << "\n";
}

void print_words(std::ostream& out, const std::string& label, const std::vector<std::string>& words,
                 std::size_t label_columns) {
  std::string line;
  std::string first_label = label;
  for (const std::string& word : words) {
    if (!line.empty() && label_columns + line.size() + 1 + word.size() > kTextColumns) {
      print_row(out, std::exchange(first_label, ""), line, label_columns);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  print_row(out, first_label, or_none(line), label_columns);
}

std::string decimal(const char* format, double number) {
  char out[328];  // the largest double has 309 digits before the point
  std::snprintf(out, sizeof out, format, number);
  return out;
}

std::string count_of(std::int64_t count, const std::string& thing) {
  return with_commas(count) + " " + thing + (count == 1 ? "" : "s");
}

std::string share_of(std::int64_t part, std::int64_t whole, const std::string& things) {
  const double percent =
      whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return text(with_commas(part), " of ", with_commas(whole), " ", things, " (",
              decimal("%.1f%%", percent), ")");
}

std::string or_none(const std::string& value) { return value.empty() ? "none" : value; }

}  // namespace micrec
