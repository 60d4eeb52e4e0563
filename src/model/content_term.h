#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/pattern.h"
#include "model/modality.h"
#include "model/model_part.h"

namespace micrec {

/// What final rows have of the features: scale * sum_m c^m (x^m W_m) / |x^m W_m|, with x^m an
/// item's own features, or the sum of those of a user's items, and shares c^m of the modalities
/// present.
class ContentTerm {
 public:
  explicit ContentTerm(const PartInputs& inputs);

  bool is_on() const { return config_.has_content(); }
  /// Draws the projections and fits the feature statistics. Ranks: collective.
  void initialise();
  /// Loads the inputs. Ranks: collective.
  void refresh();

  /// Says which modalities the triples' nodes have. Ranks: local.
  void plan(StepContext& step) const;
  /// Asks for the projected features of the batch's items.
  void want_of_items(StepContext& step);
  /// Of the triples' users, positives and negatives. The positive item is left out of the user's
  /// sum, else the term learns to recognise it. Shapes   returns (3n, width). Ranks: collective in
  /// the column group, once each way.
  at::Tensor rows(StepContext& step);

  /// Of all owned nodes, without gradient. Shapes   returns (owned rows, width). Ranks: collective
  /// in the column group.
  at::Tensor all_rows(StepContext& context) const;
  /// Of people who join later; `items`: (users) of owned rows. Shapes   returns (users, width).
  at::Tensor rows_of_new(StepContext& context, const Pattern& items) const;

  /// What each of the owned rows `rows` adds to that of somebody who joins later and has interacted
  /// with them. Shapes   returns (rows, dim). Ranks: one alone.
  at::Tensor shares_of_new(const at::Tensor& rows) const;

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  struct Modality {
    FeatureStatistics statistics;
    Parameter* projection;  // W (columns, width)
    ContentInputs inputs;
    // Of the batch that is being computed.
    BatchItems::Handle projected{};
  };
  std::vector<at::Tensor> tables(StepContext& context) const;
  at::Tensor rows_of(StepContext& context, const std::vector<at::Tensor>& sums,
                     const std::vector<at::Tensor>& counts) const;

  const ModelConfig& config_;
  const DatasetFile& dataset_;
  const Shard& shard_;
  std::uint64_t seed_;
  std::vector<Modality> modalities_;
  Parameter* scale_ = nullptr;
  Parameter* logits_ = nullptr;
  at::Tensor every_set_;  // every_modality_set() of them
  // On the host: of every item of all ranks the set of its modalities, from the first item's node
  // on; of each modality the ContentInputs::count of the owned rows.
  std::vector<std::uint16_t> set_of_item_;
  std::vector<at::Tensor> items_with_;
};

}  // namespace micrec
