#include "train/kept_loss.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include "kernels/gpu.h"
#include "kernels/kept_loss_element.h"

namespace micrec {

void KeptLoss::keep(const LossValues& loss, std::int64_t step) {
  const auto parts = static_cast<std::int64_t>(loss.parts.size());
  CHECK(loss.values.scalar_type() == at::kDouble && loss.values.numel() == parts);
  if (!kept_.defined()) {
    parts_ = loss.parts;
    kept_ = at::ones({parts + 2}, loss.values.options());
  }
  CHECK(parts + 2 == kept_.numel() && loss.values.device() == kept_.device());
  const at::Tensor values = loss.values.contiguous();
  const KeepLossCall call{values.const_data_ptr<double>(), parts, static_cast<double>(step),
                          kept_.mutable_data_ptr<double>()};
  if (kept_.device().is_cpu()) {
    keep_loss(call);
  } else {
    keep_loss_on_gpu(call, kept_.device());
  }
}

KeptLoss::Reading KeptLoss::read() const {
  CHECK(has_any());
  const auto parts = static_cast<std::int64_t>(parts_.size());
  const at::Tensor here = kept_.cpu();
  const double* const kept = here.const_data_ptr<double>();
  return {LossValues{parts_, here.slice(0, 0, parts)}.read(),
          static_cast<std::int64_t>(kept[parts]), kept[parts + 1] != 0};
}

}  // namespace micrec
