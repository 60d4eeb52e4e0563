#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"
#include "kernels/neighbour_sum_warp.h"

namespace micrec {
namespace {

constexpr int kWarpsPerBlock = 4;
constexpr int kThreadsPerBlock = kWarpsPerBlock * kWarpLanes;

template <typename Number, int width>
__global__ void __launch_bounds__(kThreadsPerBlock) sum_tasks(SumCall call) {
  by_warps<kThreadsPerBlock>(call.hubs.piece_count + call.output_rows,
                             [&](const DeviceWarp& warp, std::int64_t task) {
                               sum_task<Number, width>(warp, call, task);
                             });
}

__global__ void finish_hubs(SumCall call) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < call.hubs.hub_count * call.dim) finish_hub_number(call, i);
}

template <typename Number>
void start_tasks(const SumCall& call, unsigned blocks, cudaStream_t stream) {
  switch (pack_width<Number>(call.dim, call.x)) {
    case 4:
      return sum_tasks<Number, 4><<<blocks, kThreadsPerBlock, 0, stream>>>(call);
    case 2:
      return sum_tasks<Number, 2><<<blocks, kThreadsPerBlock, 0, stream>>>(call);
    default:
      return sum_tasks<Number, 1><<<blocks, kThreadsPerBlock, 0, stream>>>(call);
  }
}

}  // namespace

cudaError_t launch_neighbour_sum(const SumCall& call, cudaStream_t stream) {
  const std::int64_t tasks = call.hubs.piece_count + call.output_rows;
  if (tasks == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(tasks, kWarpsPerBlock);
  if (call.x_type == Stored::bfloat16) {
    start_tasks<Bfloat16Bits>(call, blocks, stream);
  } else {
    start_tasks<float>(call, blocks, stream);
  }
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  if (call.hubs.hub_count == 0) return cudaSuccess;
  const std::int64_t numbers = call.hubs.hub_count * call.dim;
  finish_hubs<<<static_cast<unsigned>((numbers + kThreadsPerBlock - 1) / kThreadsPerBlock),
                kThreadsPerBlock, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace micrec
