#include "base/excerpt.h"

#include <simdjson.h>

#include <algorithm>

namespace micrec {
namespace {

constexpr std::size_t kMostLetters = 60;
constexpr std::size_t kMostNames = 12;

constexpr std::size_t kMostLetterBytes = 4;

bool is_control(char letter) {
  const auto code = static_cast<unsigned char>(letter);
  return code < 0x20 || code == 0x7F;
}

/// The length of the beginning that is shown: not in the middle of a UTF-8 character.
std::size_t shown(std::string_view value) {
  std::size_t size = std::min(value.size(), kMostLetters);
  while (size < value.size() && size > 0 &&
         (static_cast<unsigned char>(value[size]) & 0xC0) == 0x80)
    --size;
  return size;
}

}  // namespace

bool is_printable(std::string_view value) {
  return simdjson::validate_utf8(value.data(), value.size()) &&
         std::ranges::none_of(value, is_control);
}

std::size_t letter_bytes(std::string_view value) {
  for (std::size_t size = 1; size <= std::min(value.size(), kMostLetterBytes); ++size) {
    if (simdjson::validate_utf8(value.substr(0, size))) return size;
  }
  return 0;
}

std::string printable(std::string_view value) {
  const std::size_t size = shown(value);
  std::string out;
  for (std::string_view rest = value.substr(0, size); !rest.empty();) {
    const std::size_t letter = is_control(rest.front()) ? 0 : letter_bytes(rest);
    out += letter > 0 ? rest.substr(0, letter) : ".";
    rest.remove_prefix(std::max<std::size_t>(letter, 1));
  }
  return out + (size < value.size() ? "..." : "");
}

std::string excerpt(std::string_view value) { return "'" + printable(value) + "'"; }

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (std::size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
    all += (i == 0 ? "" : ", ") + printable(names[i]);
  return all + (names.size() > kMostNames ? ", ..." : "");
}

}  // namespace micrec
