#include "kernels/device_block.h"
#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"
#include "kernels/item_systems_block.h"

namespace micrec {
namespace {

__global__ void __launch_bounds__(kSystemThreads)
    multiply_alike(const __grid_constant__ ItemSystemsCall call) {
  __shared__ AlikeTile tile;
  alike_task(DeviceBlock(), call, tile, blockIdx.x);
}

__global__ void __launch_bounds__(kSystemThreads)
    solve_systems(const __grid_constant__ ItemSystemsCall call) {
  __shared__ SystemSpace space;
  system_task(DeviceBlock(), call, space, blockIdx.x);
}

/// A block a task, in one round.
cudaError_t launch_blocks(void (*kernel)(ItemSystemsCall), const ItemSystemsCall& call,
                          std::int64_t tasks, cudaStream_t stream) {
  if (tasks > blocks_for(tasks, 1)) return cudaErrorInvalidConfiguration;
  return launch<kSystemThreads>(kernel, call, tasks, 1, stream);
}

}  // namespace

cudaError_t launch_alike(const ItemSystemsCall& call, cudaStream_t stream) {
  return launch_blocks(multiply_alike, call, alike_tasks(call), stream);
}

cudaError_t launch_item_systems(const ItemSystemsCall& call, cudaStream_t stream) {
  return launch_blocks(solve_systems, call, system_tasks(call), stream);
}

}  // namespace micrec
