#pragma once

#include <ATen/core/Tensor.h>

#include "model/model_part.h"
#include "model/template_embedding.h"

namespace micrec {

/// The self-enhanced loss of inductive kinds: the ranking of the triples' trained rows by a
/// diagonal bilinear form, where all three nodes are templates.
/// Source   INMO (Wu et al. 2022, arXiv:2107.05247).
class SelfLoss : public LossTerm {
 public:
  static constexpr const char* kParts[] = {"self"};

  explicit SelfLoss(const PartInputs& inputs);
  void want_rows(StepContext& step) const override;
  void want_of_items(StepContext& step) override;
  void add_loss(StepContext& step) override;
  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  const ModelConfig& config_;
  const TemplateEmbedding& embedding_;
  Parameter* form_ = nullptr;  // (width)
  // Of the batch that is being computed.
  BatchItems::Handle rows_of_items_{};
};

}  // namespace micrec
