#include <algorithm>

#include "kernels/count_ahead_block.h"
#include "kernels/device_block.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

constexpr std::int64_t kMostBlocks = 1 << 30;

__global__ void __launch_bounds__(kRankThreads)
    place_positives(const __grid_constant__ RankCall call) {
  const std::int64_t stride = std::int64_t{gridDim.x} * kRankThreads;
  for (std::int64_t n = std::int64_t{blockIdx.x} * kRankThreads + threadIdx.x; n < call.positives;
       n += stride) {
    place_positive(call, n);
  }
}

/// A block a user.
__global__ void __launch_bounds__(kRankThreads)
    sum_histories(const __grid_constant__ RankCall call) {
  __shared__ SourceRun runs[kRankThreads];
  sum_history(DeviceBlock(), call, call.first_user + blockIdx.x, runs);
}

/// Two blocks at a time: the registers of a processor are for 512 such threads at least.
__global__ void __launch_bounds__(kRankThreads, 2)
    count_ahead(const __grid_constant__ RankCall call) {
  __shared__ RankTile tile;
  rank_task(DeviceBlock(), call, tile, blockIdx.x);
}

}  // namespace

cudaError_t launch_place_positives(const RankCall& call, cudaStream_t stream) {
  if (call.positives == 0) return cudaSuccess;
  const std::int64_t blocks = (call.positives + kRankThreads - 1) / kRankThreads;
  place_positives<<<static_cast<unsigned>(std::min(blocks, kMostBlocks)), kRankThreads, 0,
                    stream>>>(call);
  return cudaGetLastError();
}

cudaError_t launch_sum_histories(const RankCall& call, cudaStream_t stream) {
  if (call.last_user == call.first_user) return cudaSuccess;
  sum_histories<<<static_cast<unsigned>(call.last_user - call.first_user), kRankThreads, 0,
                  stream>>>(call);
  return cudaGetLastError();
}

cudaError_t launch_count_ahead(const RankCall& call, cudaStream_t stream) {
  const std::int64_t tasks = rank_tasks(call);
  if (tasks == 0) return cudaSuccess;
  if (tasks > kMostBlocks) return cudaErrorInvalidConfiguration;
  count_ahead<<<static_cast<unsigned>(tasks), kRankThreads, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace micrec
