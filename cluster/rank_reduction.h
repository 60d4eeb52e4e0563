#pragma once

#include <cstdint>
#include <type_traits>

#include "base/kernel_inline.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace micrec {

/// The sum (reduction 0), the smaller (1) or the larger (2) of what was reduced so far and the next
/// rank's; a NaN stays.
template <typename T, int reduction>
MICREC_KERNEL_INLINE T combined(T so_far, T next) {
  if constexpr (reduction == 0) {
    return so_far + next;
  } else {
    const bool is_nan = std::is_floating_point<T>::value && next != next;
    const bool wins = reduction == 1 ? next < so_far : so_far < next;
    return is_nan || wins ? next : so_far;
  }
}

/// Element `i` of the sum, minimum or maximum over ranks, in rank order. One writer an element, so
/// any number of them may be computed side by side, and `into` may be the first part.
/// Shapes   parts: (ranks, count).
template <typename T, int reduction>
MICREC_KERNEL_INLINE T reduced_over_ranks(const T* parts, std::int64_t count, int ranks,
                                          std::int64_t i) {
  T result = parts[i];
  for (int q = 1; q < ranks; ++q) {
    result = combined<T, reduction>(result, parts[q * count + i]);
  }
  return result;
}

/// Numbers that NcclLink::reduce adds up.
enum class ReducedType { float32, float64, int32, int64 };

/// Gives the stream a kernel of one thread an element; see reduced_over_ranks. Returns CUDA's code
/// of a failure, or 0. In a program that was built with CUDA.
int launch_rank_reduction(ReducedType type, int reduction, void* into, const void* parts,
                          std::int64_t count, int ranks, CUstream_st* stream);

}  // namespace micrec
