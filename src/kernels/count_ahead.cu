#include "kernels/count_ahead_block.h"
#include "kernels/device_block.h"
#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

__global__ void __launch_bounds__(kRankThreads)
    place_positives(const __grid_constant__ RankCall call) {
  by_threads<kRankThreads>(call.positives, [&](std::int64_t n) { place_positive(call, n); });
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
  return launch<kRankThreads>(place_positives, call, call.positives, kRankThreads, stream);
}

cudaError_t launch_sum_histories(const RankCall& call, cudaStream_t stream) {
  return launch<kRankThreads>(sum_histories, call, call.last_user - call.first_user, 1, stream);
}

cudaError_t launch_count_ahead(const RankCall& call, cudaStream_t stream) {
  const std::int64_t tasks = rank_tasks(call);
  if (tasks > blocks_for(tasks, 1)) return cudaErrorInvalidConfiguration;  // one each, in one round
  return launch<kRankThreads>(count_ahead, call, tasks, 1, stream);
}

}  // namespace micrec
