#include "kernels/gpu_launch.h"
#include "kernels/kept_loss_element.h"

namespace micrec {
namespace {

__global__ void keep(const __grid_constant__ KeepLossCall call) { keep_loss(call); }

}  // namespace

cudaError_t launch_keep_loss(const KeepLossCall& call, cudaStream_t stream) {
  keep<<<1, 1, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace micrec
