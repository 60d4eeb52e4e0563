#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace micrec {

struct AdamConfig {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// One step of Adam on this rank's rows, in one pass over value, gradient and both moments.
///
/// Shapes   value, both moments and gradient: alike, float32; an undefined gradient means zero.
///          `time`: 1 for the first step.
/// Ranks    local; the gradient of a replicated parameter has been summed over ranks.
/// Source   Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, in the form of torch.optim.Adam.
void adam_step(const at::Tensor& value, const at::Tensor& first_moment,
               const at::Tensor& second_moment, const at::Tensor& gradient,
               const AdamConfig& config, double learning_rate, std::int64_t time, int threads);

}  // namespace micrec
