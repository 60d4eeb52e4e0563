#pragma once

#include <cstdint>
#include <type_traits>

#include "base/kernel_inline.h"

namespace micrec {

/// Element `i` of the sum, minimum or maximum over ranks, in rank order; a NaN stays. One writer an
/// element, so any number of them may be computed side by side, and `into` may be the first part.
/// Shapes   parts: (ranks, count).
template <typename T, int reduction>
MICREC_KERNEL_INLINE T reduced_over_ranks(const T* parts, std::int64_t count, int ranks,
                                          std::int64_t i) {
  T result = parts[i];
  for (int q = 1; q < ranks; ++q) {
    const T next = parts[q * count + i];
    if constexpr (reduction == 0) {
      result += next;
    } else {
      const bool is_nan = std::is_floating_point<T>::value && next != next;
      const bool wins = reduction == 1 ? next < result : result < next;
      if (is_nan || wins) result = next;
    }
  }
  return result;
}

}  // namespace micrec
