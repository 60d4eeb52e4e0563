#include "io/tables/table_shape.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <unordered_set>

#include "base/text.h"

namespace micrec {
namespace {

constexpr std::size_t kMostLines = 2000;
// Of lines that go together so many are as wide as each other; the rest will be refused by line.
constexpr double kMostOfThem = 0.9;
constexpr std::int64_t kLeastDate = 100'000'000;  // 1973 in Unix seconds
constexpr std::int64_t kMostStars = 10;           // ratings are 1 to 5, 0 or 1, or up to this

bool has_quote(std::string_view line) { return line.find('"') != std::string_view::npos; }

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (words.empty() || !words.back().empty()) words.push_back(take_word(line));
  words.pop_back();
  return words;
}

bool is_count(std::string_view word) {
  const auto number = parse_integer(word);
  return number && *number >= 0;
}

bool is_date(std::string_view word) {
  const auto number = parse_integer(word);
  return number && *number >= kLeastDate;
}

bool is_rating(std::string_view word) {
  const auto number = parse_integer(word);
  return number && *number >= 0 && *number <= kMostStars;
}

}  // namespace

std::vector<std::string_view> first_lines(std::string_view start, char line_feed, bool is_all) {
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < start.size() && lines.size() < kMostLines;) {
    std::size_t end = start.find(line_feed, at);
    if (end == std::string_view::npos) {
      // A line that goes on is better than none.
      if (!is_all && !lines.empty()) break;
      end = start.size();
    }
    std::string_view line = start.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

std::vector<std::string_view> fields_of(std::string_view line, std::string_view separator) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t end = line.find(separator, begin);
    fields.push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return fields;
    begin = end + separator.size();
  }
}

std::string_view take_word(std::string_view& line) {
  const auto is_blank = [](char letter) { return letter == ' ' || letter == '\t'; };
  const auto begin = std::find_if_not(line.begin(), line.end(), is_blank);
  const std::string_view word(begin, std::find_if(begin, line.end(), is_blank));
  line.remove_prefix(static_cast<std::size_t>(word.end() - line.begin()));
  return word;
}

std::optional<std::size_t> common_width(const std::vector<std::string_view>& lines,
                                        std::string_view separator) {
  std::optional<std::size_t> width;
  for (const std::string_view line : lines) {
    if (has_quote(line)) continue;
    const std::size_t fields = fields_of(line, separator).size();
    if (width && *width != fields) return std::nullopt;
    width = fields;
  }
  return width;
}

std::optional<std::string> likely_separator(const std::vector<std::string_view>& lines) {
  constexpr std::array<const char*, 6> kSeparators = {"\t", "::", ";", ",", "|", " "};
  std::optional<std::string> best;
  std::size_t most = 1;
  for (const char* separator : kSeparators) {
    const auto width = common_width(lines, separator);
    if (!width || *width <= most) continue;
    most = *width;
    best = separator;
  }
  return best;
}

std::string separator_flag(std::string_view separator) {
  if (separator == "\t") return "--separator=tab";
  if (separator == " ") return "--separator=space";
  return text("--separator='", separator, "'");
}

NumberLines number_lines(const std::vector<std::string_view>& lines) {
  std::map<std::size_t, std::size_t> lines_of_width;
  std::unordered_set<std::string_view> firsts;
  std::size_t of_numbers = 0;
  bool have_tabs = false;
  bool all_end_with_dates = true;
  bool all_end_with_ratings = true;
  for (const std::string_view line : lines) {
    const std::vector<std::string_view> words = words_of(line);
    if (words.empty() || !std::ranges::all_of(words, is_count)) {
      all_end_with_ratings = false;
      continue;
    }
    ++of_numbers;
    ++lines_of_width[words.size()];
    firsts.insert(words.front());
    have_tabs = have_tabs || line.find('\t') != std::string_view::npos;
    // Items may be numbers as large as dates, but then all of them are.
    all_end_with_dates =
        all_end_with_dates && words.size() > 2 && is_date(words.back()) && !is_date(words[1]);
    // `user item rating`, as a test file with a line a user has it; lists differ in length.
    all_end_with_ratings = all_end_with_ratings && words.size() == 3 && is_rating(words.back());
  }
  const auto share = [&](std::size_t part, std::size_t all) {
    return static_cast<double>(part) >= kMostOfThem * static_cast<double>(all);
  };
  if (of_numbers == 0 || !share(of_numbers, lines.size())) return NumberLines::other;
  const auto widest = std::ranges::max_element(
      lines_of_width, [](const auto& a, const auto& b) { return a.second < b.second; });
  // Of width 2 both are the same.
  if (widest->first < 3 || !share(widest->second, of_numbers)) return NumberLines::lists;
  if (firsts.size() < of_numbers) return NumberLines::table;
  const bool may_be_table =
      all_end_with_dates || all_end_with_ratings || (have_tabs && of_numbers > 1);
  return may_be_table ? NumberLines::doubtful : NumberLines::lists;
}

}  // namespace micrec
