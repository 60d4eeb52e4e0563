#pragma once

#include <memory>
#include <vector>

#include "model/model_part.h"

namespace micrec {

/// The terms of the loss, in the order in which they are added: ranking, self-enhanced and
/// contrastive. One that a configuration weighs with 0 does nothing.
class Losses {
 public:
  /// `embedding` must outlive them; `inputs.embedding` is not read.
  Losses(PartInputs inputs, const TemplateEmbedding& embedding);

  /// What the terms report, in their order.
  static std::vector<const char*> parts();

  void want_rows(StepContext& step) const;
  void want_of_items(StepContext& step);
  void add(StepContext& step);

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  std::vector<std::unique_ptr<LossTerm>> terms_;
};

}  // namespace micrec
