#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/gpu.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

void check_started(const char* what, cudaError_t code) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster, text("CUDA refused to start ", what, ": ", cudaGetErrorString(code)));
}

}  // namespace

void neighbour_sum_on_gpu(const PreparedSum& sum, c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  check_started("the sum of neighbours",
                launch_neighbour_sum(sum.call, c10::cuda::getCurrentCUDAStream(device.index())));
}

void adam_on_gpu(const AdamCall& call, c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  check_started("Adam", launch_adam(call, c10::cuda::getCurrentCUDAStream(device.index())));
}

}  // namespace micrec
