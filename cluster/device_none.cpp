// The GPUs of a program that was built without CUDA.
#include <glog/logging.h>

#include "cluster/device.h"

namespace micrec {

VisibleGpus find_gpus() {
  VisibleGpus gpus;
  gpus.has_driver = nvidia_driver_is_loaded();
  gpus.why_none = "this program was built without CUDA (MICREC_WITH_CUDA)";
  return gpus;
}

void use_device(c10::Device device) { CHECK(device.is_cpu()) << device; }

}  // namespace micrec
