#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/device_warp.h"

// For sources that nvcc compiles: how the blocks of a kernel share out any number of tasks.
namespace micrec {

/// Blocks that take the tasks between them, so many each in a round.
inline unsigned blocks_for(std::int64_t tasks, std::int64_t each) {
  constexpr std::int64_t kMostBlocks = 1 << 30;
  return static_cast<unsigned>(std::min((tasks + each - 1) / each, kMostBlocks));
}

/// Gives a stream a kernel of so many threads a block, of which each takes `each` tasks in a round.
template <int threads, typename Call>
cudaError_t launch(void (*kernel)(Call), const Call& call, std::int64_t tasks, std::int64_t each,
                   cudaStream_t stream) {
  if (tasks == 0) return cudaSuccess;
  kernel<<<blocks_for(tasks, each), threads, 0, stream>>>(call);
  return cudaGetLastError();
}

/// body(n) for each of the tasks, a thread each; by all blocks, of so many threads.
template <int threads, typename Body>
__device__ __forceinline__ void by_threads(std::int64_t tasks, const Body& body) {
  const std::int64_t stride = std::int64_t{gridDim.x} * threads;
  for (std::int64_t n = std::int64_t{blockIdx.x} * threads + threadIdx.x; n < tasks; n += stride) {
    body(n);
  }
}

/// body(warp, n) for each of the tasks, a warp each.
template <int threads, typename Body>
__device__ __forceinline__ void by_warps(std::int64_t tasks, const Body& body) {
  constexpr int kWarps = threads / kWarpLanes;
  const DeviceWarp warp(static_cast<int>(threadIdx.x % kWarpLanes));
  const std::int64_t stride = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t n = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes; n < tasks;
       n += stride) {
    body(warp, n);
  }
}

/// The sum of a number of each thread of a block, or of several side by side, in one order; thread
/// 0 has it.
template <int threads, typename Numbers>
__device__ __forceinline__ Numbers sum_of_block(const Numbers& own) {
  __shared__ Numbers sums[threads];
  const auto thread = static_cast<int>(threadIdx.x);
  sums[thread] = own;
  __syncthreads();
  for (int half = threads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  return sums[0];
}

}  // namespace micrec
