#pragma once

#include <cstdint>

#include "base/kernel_inline.h"
#include "kernels/neighbour_sum_warp.h"

// Dot products of rows of blocks that lie below each other, on a GPU: a warp a row, whose lanes add
// up every 32nd column. A warp has, beside what neighbour_sum_warp.h says,
//   warp.sum(numbers)     the sum of all lanes' numbers, in one order, known to all
namespace micrec {

inline constexpr int kMostBlockPairs = 8;

/// Which blocks are multiplied with which.
struct BlockPairs {
  int count;
  int first[kMostBlockPairs];
  int second[kMostBlockPairs];
};

struct BlockDotsCall {
  const float* x;  // (blocks * n, width)
  std::int64_t n;
  std::int64_t width;
  BlockPairs pairs;
  double* dots;  // (pairs, n)
};

/// The product of two rows, known to all lanes.
template <typename Warp>
MICREC_KERNEL_INLINE double dot_of_rows(const Warp& warp, const float* a, const float* b,
                                        std::int64_t width) {
  typename Warp::template Lanes<double> sums;
  warp.each([&](int lane) {
    double sum = 0;
    for (std::int64_t c = lane; c < width; c += kWarpLanes) {
      sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    }
    sums[lane] = sum;
  });
  return warp.sum(sums);
}

/// Row t of all blocks.
template <typename Warp>
MICREC_KERNEL_INLINE void block_dots_of_row(const Warp& warp, const BlockDotsCall& call,
                                            std::int64_t t) {
  for (int pair = 0; pair < call.pairs.count; ++pair) {
    const float* const a = call.x + (call.pairs.first[pair] * call.n + t) * call.width;
    const float* const b = call.x + (call.pairs.second[pair] * call.n + t) * call.width;
    const double dot = dot_of_rows(warp, a, b, call.width);
    warp.each([&](int lane) {
      if (lane == 0) call.dots[pair * call.n + t] = dot;
    });
  }
}

/// The way back.
struct BlockSlopesCall {
  const float* x;        // (blocks * n, width)
  const double* slopes;  // (pairs, n)
  std::int64_t n;
  std::int64_t width;
  std::int64_t blocks;
  BlockPairs pairs;
  float* out;  // as x
};

/// Number i of the result, in the CPU's order of the pairs.
MICREC_KERNEL_INLINE void block_slope(const BlockSlopesCall& call, std::int64_t i) {
  const std::int64_t row = i / call.width;
  const std::int64_t column = i % call.width;
  const std::int64_t block = row / call.n;
  const std::int64_t t = row % call.n;
  float sum = 0;
  for (int pair = 0; pair < call.pairs.count; ++pair) {
    const std::int64_t first = call.pairs.first[pair];
    const std::int64_t second = call.pairs.second[pair];
    if (first != block && second != block) continue;
    const auto factor = static_cast<float>(call.slopes[pair * call.n + t]);
    if (first == block) sum += factor * call.x[(second * call.n + t) * call.width + column];
    if (second == block) sum += factor * call.x[(first * call.n + t) * call.width + column];
  }
  call.out[i] = sum;
}

}  // namespace micrec
