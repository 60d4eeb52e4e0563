#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/pattern.h"
#include "model/model_part.h"
#include "model/semantic_neighbours.h"

namespace micrec {

/// The graph rows z of base rows e: the mean of all layers of propagation, of rows that semantic
/// neighbours have refined before, or that they are added to after.
/// Source   LightGCN (He et al. 2020, arXiv:2002.02126).
class Propagation {
 public:
  /// `semantic` outlives it.
  Propagation(const PartInputs& inputs, SemanticNeighbours& semantic);

  /// Whether wanted_rows() takes rows of all that are owned; see StepContext::takes_wanted.
  bool takes_wanted() const;
  /// The rows that somebody wants in a step: of their last layer no others are computed.
  /// Shapes   e: (owned rows, width); returns (wanted rows, width). Ranks: collective, see
  /// propagate().
  at::Tensor wanted_rows(StepContext& context, const at::Tensor& e);
  /// Shapes   e: (owned rows, width); returns the same. Ranks: collective, see propagate().
  at::Tensor rows(StepContext& context, const at::Tensor& e);
  /// What people who join later read of the graph, from its base rows e. Without gradient. Shapes
  /// e: (owned rows, width); returns the same. Ranks: one alone.
  at::Tensor read_by_new(StepContext& context, const at::Tensor& e);
  /// Of people who join later; e: (users, width) their base rows; `items`: (users) of owned rows;
  /// read: from read_by_new(). Without gradient. Ranks: one alone.
  at::Tensor rows_of_new(const Pattern& items, const at::Tensor& e, const at::Tensor& read) const;

  /// What each of the owned rows `rows` adds to the row of somebody who joins later and has
  /// interacted with them, and in the last row what belongs to none; e: the same of their base row.
  /// Shapes   e: (rows + 1, dim); returns the same. Ranks: one alone.
  at::Tensor shares_of_new(const at::Tensor& rows, const at::Tensor& e,
                           const at::Tensor& read) const;

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  bool is_refined(SemanticPlace place) const {
    return semantic_.is_on() && config_.semantic == place;
  }
  /// Base rows as propagation takes them.
  at::Tensor refine(StepContext& context, const at::Tensor& e);

  const ModelConfig& config_;
  const Shard& shard_;
  SemanticNeighbours& semantic_;
  at::Tensor inverse_degree_;  // (local rows) float32, where there are several layers
};

}  // namespace micrec
