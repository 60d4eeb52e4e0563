// The kernels on a GPU in a program that was built without CUDA.
#include <glog/logging.h>

#include "kernels/gpu.h"

namespace micrec {

#define MICREC_REFUSE(name, Call, what)                                     \
  void name##_on_gpu(const Call& /*call*/, c10::Device device) {            \
    LOG(FATAL) << "a tensor on " << device << " in a program without CUDA"; \
  }
MICREC_GPU_KERNELS(MICREC_REFUSE)
#undef MICREC_REFUSE

}  // namespace micrec
