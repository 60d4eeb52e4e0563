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
  throw Error(Cause::cluster, "CUDA refused to start ", what, ": ", cudaGetErrorString(code));
}

/// Gives a call's kernels to the device's current stream.
template <typename Call>
void start(const char* what, cudaError_t (*launch)(const Call&, cudaStream_t), const Call& call,
           c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  check_started(what, launch(call, c10::cuda::getCurrentCUDAStream(device.index())));
}

}  // namespace

#define MICREC_START(name, Call, what)                       \
  void name##_on_gpu(const Call& call, c10::Device device) { \
    start(what, launch_##name, call, device);                \
  }
MICREC_GPU_KERNELS(MICREC_START)
#undef MICREC_START

}  // namespace micrec
