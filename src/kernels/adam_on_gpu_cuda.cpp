#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <glog/logging.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/adam_launch.h"
#include "kernels/adam_on_gpu.h"

namespace micrec {

void adam_on_gpu(const AdamFactors& factors, const at::Tensor& gradient, const at::Tensor& value,
                 const at::Tensor& m, const at::Tensor& v) {
  const c10::Device device = value.device();
  CHECK(m.device() == device && v.device() == device) << m.device() << " and " << v.device();
  CHECK(!gradient.defined() || gradient.device() == device) << gradient.device();
  const c10::cuda::CUDAGuard guard(device);
  const cudaError_t code =
      launch_adam(factors, gradient.defined() ? gradient.const_data_ptr<float>() : nullptr,
                  static_cast<float*>(value.data_ptr()), m.data_ptr<float>(), v.data_ptr<float>(),
                  value.numel(), c10::cuda::getCurrentCUDAStream(device.index()));
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster, text("CUDA refused to start Adam: ", cudaGetErrorString(code)));
}

}  // namespace micrec
