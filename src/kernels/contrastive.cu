#include <algorithm>

#include "kernels/contrastive_warp.h"
#include "kernels/device_warp.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / kWarpLanes;
constexpr std::int64_t kMostBlocks = 1 << 30;

/// Calls body(warp, task) for each of the tasks, a warp each.
template <typename Body>
__device__ __forceinline__ void by_warps(std::int64_t tasks, const Body& body) {
  const DeviceWarp warp(static_cast<int>(threadIdx.x % kWarpLanes));
  const std::int64_t stride = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t n = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes; n < tasks;
       n += stride) {
    body(warp, n);
  }
}

__global__ void __launch_bounds__(kThreads) unit_rows(const __grid_constant__ UnitRowsCall call) {
  by_warps(2 * call.people,
           [&](const DeviceWarp& warp, std::int64_t n) { unit_row(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads) add_tile(const __grid_constant__ SoftmaxTileCall call) {
  by_warps(call.rows,
           [&](const DeviceWarp& warp, std::int64_t n) { add_to_softmax(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads)
    person_losses(const __grid_constant__ PersonLossCall call) {
  by_warps(call.people,
           [&](const DeviceWarp& warp, std::int64_t n) { loss_of_person(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads)
    attractions(const __grid_constant__ AttractionCall call) {
  const std::int64_t count = call.rows * call.columns;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += stride) {
    attract(call, i);
  }
}

__global__ void __launch_bounds__(kThreads)
    unit_gradients(const __grid_constant__ UnitGradientCall call) {
  by_warps(call.people,
           [&](const DeviceWarp& warp, std::int64_t n) { through_unit_row(warp, call, n); });
}

template <typename Call>
cudaError_t launch(void (*kernel)(Call), const Call& call, std::int64_t tasks, std::int64_t each,
                   cudaStream_t stream) {
  if (tasks == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>(std::min((tasks + each - 1) / each, kMostBlocks));
  kernel<<<blocks, kThreads, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_unit_rows(const UnitRowsCall& call, cudaStream_t stream) {
  return launch(unit_rows, call, 2 * call.people, kWarps, stream);
}

cudaError_t launch_softmax_tile(const SoftmaxTileCall& call, cudaStream_t stream) {
  return launch(add_tile, call, call.rows, kWarps, stream);
}

cudaError_t launch_person_losses(const PersonLossCall& call, cudaStream_t stream) {
  return launch(person_losses, call, call.people, kWarps, stream);
}

cudaError_t launch_attractions(const AttractionCall& call, cudaStream_t stream) {
  return launch(attractions, call, call.rows * call.columns, kThreads, stream);
}

cudaError_t launch_unit_gradients(const UnitGradientCall& call, cudaStream_t stream) {
  return launch(unit_gradients, call, call.people, kWarps, stream);
}

}  // namespace micrec
