#pragma once

#include <charconv>

namespace micrec {

/// As a double whose shortest decimal form is that of the float, so that JSON has no digits that
/// nobody meant.
inline double shortest(float value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double number = value;
  std::from_chars(digits, end, number);
  return number;
}

}  // namespace micrec
