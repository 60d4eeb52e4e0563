// The kernels on a GPU in a program that was built without CUDA.
#include <glog/logging.h>

#include "kernels/gpu.h"

namespace micrec {

void neighbour_sum_on_gpu(const PreparedSum& /*sum*/, c10::Device device) {
  LOG(FATAL) << "a tensor on " << device << " in a program without CUDA";
}

void adam_on_gpu(const AdamCall& /*call*/, c10::Device device) {
  LOG(FATAL) << "a tensor on " << device << " in a program without CUDA";
}

}  // namespace micrec
