#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace micrec {

/// Adam over the parameters of a model, with the two moments of each.
class Optimizer {
 public:
  struct Moments {
    at::Tensor first;   // as the parameter's value
    at::Tensor second;  // as the parameter's value
  };

  /// The moments are zero. `model` outlives it.
  explicit Optimizer(Model& model);

  /// One step by the gradients of the parameters, which it takes away. `time`: 1 for the first.
  /// `taken`: see adam_step(). Ranks: local.
  void step(double learning_rate, std::int64_t time, const at::Tensor& taken = {});

  /// Gives rows of nodes that no gradient has met yet the second moments that those of their kind
  /// have on average, so that their steps are no longer than theirs, where time goes on from
  /// another run's. Ranks: collective.
  void let_in();

  const std::vector<Moments>& moments() const { return moments_; }  // as Model::parameters()

 private:
  Model& model_;
  std::vector<Moments> moments_;
};

}  // namespace micrec
