#include "train/optimizer.h"

#include <ATen/ATen.h>

namespace micrec {

Optimizer::Optimizer(Model& model, const AdamConfig& config) : model_(model), config_(config) {
  for (const Parameter& parameter : model_.parameters()) {
    const at::Tensor value = parameter.value.detach();
    moments_.push_back({at::zeros_like(value), at::zeros_like(value)});
  }
}

void Optimizer::step(double learning_rate, std::int64_t time) {
  std::size_t next = 0;
  for (Parameter& parameter : model_.parameters()) {
    const Moments& moments = moments_[next++];
    adam_step(parameter.value, moments.first, moments.second, parameter.value.grad(), config_,
              learning_rate, time, model_.shard().threads);
    parameter.value.mutable_grad() = at::Tensor();
  }
}

}  // namespace micrec
