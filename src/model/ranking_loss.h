#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/model_part.h"

namespace micrec {

/// The Bayesian personalised ranking of the triples' final rows, each triple weighted by its
/// domain, with the squared norms of its three rows:
///
///   sum over triples of w * (softplus(<z_u, z_j> - <z_u, z_i>) + l2 * (|z_u|^2 + |z_i|^2 +
///   |z_j|^2))
///
/// Source   BPR (Rendle et al. 2009, arXiv:1205.2618).
class RankingLoss : public LossTerm {
 public:
  static constexpr const char* kParts[] = {"ranking", "l2"};

  explicit RankingLoss(const PartInputs& inputs);
  void want_rows(StepContext& step) const override;
  void add_loss(StepContext& step) override;
  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  const ModelConfig& config_;
  std::vector<float> domain_weight_;  // (domains)
};

}  // namespace micrec
