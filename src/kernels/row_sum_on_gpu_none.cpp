// The sum of neighbours on a GPU in a program that was built without CUDA.
#include <glog/logging.h>

#include "kernels/row_sum_call.h"

namespace micrec {

void neighbour_sum_on_gpu(at::Tensor& /*out*/, const Pattern& /*pattern*/, const at::Tensor& x,
                          const SumOptions& /*options*/) {
  LOG(FATAL) << "a tensor on " << x.device() << " in a program without CUDA";
}

}  // namespace micrec
