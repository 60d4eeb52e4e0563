#include "kernels/contrastive_warp.h"
#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / kWarpLanes;

__global__ void __launch_bounds__(kThreads) unit_rows(const __grid_constant__ UnitRowsCall call) {
  by_warps<kThreads>(2 * call.people,
                     [&](const DeviceWarp& warp, std::int64_t n) { unit_row(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads) add_tile(const __grid_constant__ SoftmaxTileCall call) {
  by_warps<kThreads>(
      call.rows, [&](const DeviceWarp& warp, std::int64_t n) { add_to_softmax(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads)
    person_losses(const __grid_constant__ PersonLossCall call) {
  by_warps<kThreads>(
      call.people, [&](const DeviceWarp& warp, std::int64_t n) { loss_of_person(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads)
    attractions(const __grid_constant__ AttractionCall call) {
  by_threads<kThreads>(call.rows * call.columns, [&](std::int64_t i) { attract(call, i); });
}

__global__ void __launch_bounds__(kThreads)
    unit_gradients(const __grid_constant__ UnitGradientCall call) {
  by_warps<kThreads>(call.people, [&](const DeviceWarp& warp, std::int64_t n) {
    through_unit_row(warp, call, n);
  });
}

}  // namespace

cudaError_t launch_unit_rows(const UnitRowsCall& call, cudaStream_t stream) {
  return launch<kThreads>(unit_rows, call, 2 * call.people, kWarps, stream);
}

cudaError_t launch_softmax_tile(const SoftmaxTileCall& call, cudaStream_t stream) {
  return launch<kThreads>(add_tile, call, call.rows, kWarps, stream);
}

cudaError_t launch_person_losses(const PersonLossCall& call, cudaStream_t stream) {
  return launch<kThreads>(person_losses, call, call.people, kWarps, stream);
}

cudaError_t launch_attractions(const AttractionCall& call, cudaStream_t stream) {
  return launch<kThreads>(attractions, call, call.rows * call.columns, kThreads, stream);
}

cudaError_t launch_unit_gradients(const UnitGradientCall& call, cudaStream_t stream) {
  return launch<kThreads>(unit_gradients, call, call.people, kWarps, stream);
}

}  // namespace micrec
