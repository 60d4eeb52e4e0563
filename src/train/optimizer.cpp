#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "kernels/adam.h"
#include "model/step/placement.h"

namespace micrec {

Optimizer::Optimizer(Model& model) : model_(model) {
  for (const Parameter& parameter : model_.parameters()) {
    const at::Tensor value = parameter.value.detach();
    moments_.push_back({at::zeros_like(value), at::zeros_like(value)});
  }
}

void Optimizer::step(double learning_rate, std::int64_t time, const at::Tensor& taken) {
  std::vector<AdamTensors> all;
  for (Parameter& parameter : model_.parameters()) {
    const Moments& moments = moments_[all.size()];
    all.push_back({parameter.value, moments.first, moments.second, parameter.value.grad()});
    parameter.value.mutable_grad() = at::Tensor();
  }
  adam_step(all, {}, learning_rate, time, taken);
}

// Means are of roots, in fixed point, so that their bits do not depend on how rows are shared out.
void Optimizer::let_in() {
  const c10::NoGradGuard no_gradient;
  const Shard& shard = model_.shard();
  std::size_t next = 0;
  for (const Parameter& parameter : model_.parameters()) {
    const Moments& moments = moments_[next++];
    if (!has_row_a_node(parameter.placement)) continue;
    const at::Tensor has_met = (moments.second > 0).any(1);
    const at::Tensor mean = mean_rows_of_kinds(shard, moments.second.sqrt(), has_met)
                                .index_select(0, shard.kind.argmax(1));
    moments.second.copy_(at::where(has_met.unsqueeze(1), moments.second, mean.square()));
  }
}

}  // namespace micrec
