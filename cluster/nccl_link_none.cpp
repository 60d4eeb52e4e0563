// NCCL in a program that was built without CUDA.
#include "base/error.h"
#include "base/text.h"
#include "cluster/nccl_link.h"

namespace micrec {

std::unique_ptr<NcclLink> make_nccl_link(c10::Device device) {
  throw Error(Cause::cluster,
              text("there is no NCCL for ", device.str(),
                   " because this program was built without CUDA (MICREC_WITH_CUDA); use "
                   "--device=cpu"));
}

}  // namespace micrec
