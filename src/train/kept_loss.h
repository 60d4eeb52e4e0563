#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/step/step_context.h"

namespace micrec {

/// The loss of the latest step, where the model computes it; once one is no finite number, that
/// one, and no later step is taken. So a GPU's loss need not be read in every step, and no
/// parameter is changed before it is.
class KeptLoss {
 public:
  /// Notes the loss of a step. Nothing waits.
  void keep(const LossValues& loss, std::int64_t step);

  bool has_any() const { return kept_.defined(); }
  /// () float64 where the loss is: zero once one was not finite. For adam_step().
  at::Tensor taken() const { return kept_.select(0, kept_.size(0) - 1); }

  struct Reading {
    StepLoss loss;
    std::int64_t step = 0;  // whose loss it is
    bool is_finite = true;
  };
  /// On a GPU it waits until the step is computed. There is one.
  Reading read() const;

 private:
  std::vector<const char*> parts_;
  at::Tensor kept_;  // see KeepLossCall
};

}  // namespace micrec
