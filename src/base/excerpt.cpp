#include "base/excerpt.h"

#include <algorithm>

namespace micrec {
namespace {

constexpr std::size_t kMostLetters = 60;
constexpr std::size_t kMostNames = 12;

/// Bytes of the character that a text begins with, 0 where that is no UTF-8 or a control character.
/// Source: RFC 3629, section 4.
std::size_t bytes_of_first_letter(std::string_view value) {
  const auto byte = [value](std::size_t i) { return static_cast<unsigned char>(value[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (first < 0xC2 || first > 0xF4 || value.size() < size) return 0;
  // Of the second byte: no letter in more bytes than it needs, no surrogate, none beyond U+10FFFF.
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  return size;
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
  while (!value.empty()) {
    const std::size_t size = bytes_of_first_letter(value);
    if (size == 0) return false;
    value.remove_prefix(size);
  }
  return true;
}

std::string printable(std::string_view value) {
  const std::size_t size = shown(value);
  std::string out;
  for (std::string_view rest = value.substr(0, size); !rest.empty();) {
    const std::size_t letter = bytes_of_first_letter(rest);
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
