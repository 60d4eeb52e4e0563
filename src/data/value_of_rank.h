#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

struct RankedValue {
  std::uint64_t value = 0;
  std::int64_t among_equals = 0;  // how many of its equals come before it
};

/// The value before which `rank` others come, of all that for_each(use) hands to `use`: by
/// counting, 16 bits at a time, so that they need not be held.
///
/// Shapes   0 <= rank < number of values.
/// Cost     for_each is called four times, and hands on the same values each time.
template <typename ForEach>
RankedValue value_of_rank(std::int64_t rank, const ForEach& for_each) {
  RankedValue found{0, rank};
  for (int shift = 48; shift >= 0; shift -= 16) {
    std::vector<std::int64_t> count(1 << 16, 0);
    for_each([&](std::uint64_t value) {
      if (shift == 48 || value >> (shift + 16) == found.value) ++count[value >> shift & 0xFFFF];
    });
    std::uint64_t digit = 0;
    while (found.among_equals >= count[digit]) found.among_equals -= count[digit++];
    found.value = found.value << 16 | digit;
  }
  return found;
}

}  // namespace micrec
