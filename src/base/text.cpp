#include "base/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace micrec {
namespace {

/// Letters to insert, drop, replace or swap with their neighbour.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({substituted, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

template <typename Number>
std::optional<Number> parse(std::string_view value) {
  Number number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size()) return std::nullopt;
  return number;
}

}  // namespace

std::vector<std::string> split(std::string_view value, char separator) {
  std::vector<std::string> parts;
  if (value.empty()) return parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = value.find(separator, begin);
    parts.emplace_back(value.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string all;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) all += separator;
    all += parts[i];
  }
  return all;
}

std::string_view trim(std::string_view value) {
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  return value;
}

std::string small_letters(std::string_view value) {
  std::string out(value);
  for (char& letter : out)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return out;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) sizes.push_back(size < 0 ? "any" : std::to_string(size));
  return "(" + join(sizes, ", ") + ")";
}

std::optional<std::int64_t> parse_integer(std::string_view value) {
  return parse<std::int64_t>(value);
}

std::optional<double> parse_real(std::string_view value) { return parse<double>(value); }

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  const std::size_t allowed = std::max<std::size_t>(1, word.size() / 3);
  std::optional<std::string> best;
  std::size_t best_distance = allowed + 1;
  for (const std::string& candidate : candidates) {
    // No distance is smaller than the difference in length; a candidate may be as long as a file.
    if (candidate.size() > word.size() + allowed) continue;
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string with_commas(std::int64_t number) {
  std::string digits = std::to_string(number);
  if (number < 0) digits.erase(0, 1);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, ",");
  return number < 0 ? "-" + digits : digits;
}

std::string in_bytes(double bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  char out[32];
  std::snprintf(out, sizeof out, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return out;
}

std::string in_time(double seconds) {
  char out[48];
  if (seconds < 1) {
    std::snprintf(out, sizeof out, "%.0f ms", seconds * 1e3);
  } else if (seconds < 60) {
    std::snprintf(out, sizeof out, "%.1f s", seconds);
  } else if (seconds < 3600) {
    const int whole = static_cast<int>(seconds);
    std::snprintf(out, sizeof out, "%d min %02d s", whole / 60, whole % 60);
  } else {
    const auto minutes = static_cast<std::int64_t>(seconds / 60);
    std::snprintf(out, sizeof out, "%lld h %02d min", static_cast<long long>(minutes / 60),
                  static_cast<int>(minutes % 60));
  }
  return out;
}

}  // namespace micrec
