#pragma once

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// All arguments streamed into one string.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

/// The parts of `value` between separators; an empty value has no parts.
std::vector<std::string> split(std::string_view value, char separator);

/// The parts with the separator between them.
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// Without the spaces and tabs around it.
std::string_view trim(std::string_view value);

/// With ASCII letters made small.
std::string small_letters(std::string_view value);

/// "(3, 4)"; -1 is "any".
std::string shape_text(const std::vector<std::int64_t>& shape);

/// The whole of `value` as a number, or nothing.
std::optional<std::int64_t> parse_integer(std::string_view value);
std::optional<double> parse_real(std::string_view value);

/// The candidate with the smallest edit distance to `word`, if one is close enough to be a slip.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

/// Numbers as people read them: "810,128", "1.5 GiB", "2 min 05 s".
std::string with_commas(std::int64_t number);
std::string in_bytes(double bytes);
std::string in_time(double seconds);

}  // namespace micrec
