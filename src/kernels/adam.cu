#include <algorithm>

#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr std::int64_t kMostBlocks = 1 << 16;

__global__ void __launch_bounds__(kThreads) adam(const __grid_constant__ AdamCall call) {
  for (std::int64_t chunk = blockIdx.x; chunk < call.chunks; chunk += gridDim.x) {
    adam_of_thread(call, chunk, static_cast<int>(threadIdx.x), kThreads);
  }
}

}  // namespace

cudaError_t launch_adam(const AdamCall& call, cudaStream_t stream) {
  if (call.chunks == 0) return cudaSuccess;
  adam<<<static_cast<unsigned>(std::min(call.chunks, kMostBlocks)), kThreads, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace micrec
