#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "kernels/score_mix.h"
#include "kernels/sparse_rows.h"
#include "model/model_part.h"

namespace micrec {

/// Item regression beside the embeddings: the second term of the score,
///
///   y_ui = <z_u, z_i> + rho_k * sum over j in H(u) of w_uj B_ji
///
/// with H(u) all that the person of u interacted with, in every domain, and w_uj what that counts
/// by its age (recency.h). B is fitted once, before the steps (ItemRegressionFit), and lies in the
/// run folder with the half-lives; rho_k is chosen anew at every validation and lies in every
/// checkpoint.
class ItemRegression {
 public:
  explicit ItemRegression(const PartInputs& inputs);

  bool is_on() const { return is_on_; }

  /// B of this rank's items: row t is the t-th item of Shard::whole_nodes, columns are items
  /// numbered over all domains, rising.
  const SparseRows& coefficients() const { return coefficients_; }
  void set_coefficients(SparseRows coefficients);

  /// (domains) half-lives of what somebody did, for scores of that domain's items; none: kNoRecency
  /// in all.
  const std::vector<double>& half_life() const { return half_life_; }
  /// Takes one a domain; all kNoRecency are none.
  void set_half_life(std::vector<double> half_life);

  /// How the terms are weighed in each domain.
  std::vector<ScoreMix> mixes() const;
  void set_mixes(std::span<const ScoreMix> mixes);

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  bool is_on_;
  std::int64_t items_ = 0;  // of this rank
  SparseRows coefficients_;
  std::vector<double> half_life_;
  at::Tensor mix_;  // (domains, 2) float32: 1 where the embeddings count, rho
};

}  // namespace micrec
