// Adam on a GPU in a program that was built without CUDA.
#include <glog/logging.h>

#include "kernels/adam_on_gpu.h"

namespace micrec {

void adam_on_gpu(const AdamFactors& /*factors*/, const at::Tensor& /*gradient*/,
                 const at::Tensor& value, const at::Tensor& /*m*/, const at::Tensor& /*v*/) {
  LOG(FATAL) << "a tensor on " << value.device() << " in a program without CUDA";
}

}  // namespace micrec
