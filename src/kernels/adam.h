#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace micrec {

struct AdamConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// A parameter's numbers, all alike, contiguous float32.
struct AdamTensors {
  at::Tensor value;
  at::Tensor first_moment;
  at::Tensor second_moment;
  at::Tensor gradient;  // undefined: zero
};

/// One step of Adam on this rank's rows, in one pass over value, gradient and both moments; on a
/// GPU one launch for all parameters. A row whose gradient is zero moves too, by what is left in
/// its moments.
///
/// Shapes   `time`: 1 for the first step. `taken`: () float64 beside the parameters: where it is
///          zero nothing changes; undefined: the step is taken.
/// Ranks    local; the gradient of a replicated parameter has been summed over ranks.
/// Source   Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, in the form of torch.optim.Adam.
void adam_step(const std::vector<AdamTensors>& parameters, const AdamConfig& config,
               double learning_rate, std::int64_t time, const at::Tensor& taken = {});

}  // namespace micrec
