#pragma once

#include <memory>
#include <vector>

#include "model/model_part.h"

namespace micrec {

/// The terms of the loss, in the order in which they are added: ranking, self-enhanced and
/// contrastive. One that a configuration weighs with 0 does nothing.
std::vector<std::unique_ptr<LossTerm>> make_losses(const PartInputs& inputs);

/// What the terms report, in their order.
std::vector<const char*> parts_of_losses();

void declare_losses(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

}  // namespace micrec
