// GPUs and NCCL in a program that was built without CUDA.
#include <glog/logging.h>

#include "base/error.h"
#include "cluster/device.h"
#include "cluster/nccl_link.h"

namespace micrec {

VisibleGpus find_gpus() {
  VisibleGpus gpus;
  gpus.has_driver = nvidia_driver_is_loaded();
  gpus.why_none = "this program was built without CUDA (MICREC_WITH_CUDA)";
  return gpus;
}

void use_device(c10::Device device) { CHECK(device.is_cpu()) << device; }

std::unique_ptr<NcclLink> make_nccl_link(c10::Device device) {
  throw Error(Cause::cluster, "there is no NCCL for ", device.str(),
              " because this program was built without CUDA (MICREC_WITH_CUDA); use --device=cpu");
}

}  // namespace micrec
