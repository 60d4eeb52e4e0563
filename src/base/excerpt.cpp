#include "base/excerpt.h"

#include <algorithm>

namespace micrec {
namespace {

constexpr std::size_t kMostLetters = 60;
constexpr std::size_t kMostNames = 12;

/// The length of the beginning that is shown: not in the middle of a UTF-8 character.
std::size_t shown(std::string_view value) {
  std::size_t size = std::min(value.size(), kMostLetters);
  while (size < value.size() && size > 0 &&
         (static_cast<unsigned char>(value[size]) & 0xC0) == 0x80)
    --size;
  return size;
}

}  // namespace

std::string printable(std::string_view value) {
  const std::size_t size = shown(value);
  std::string out(value.substr(0, size));
  for (char& letter : out) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x20 || code == 0x7F) letter = '.';
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
