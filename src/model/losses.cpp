#include "model/losses.h"

#include <span>

#include "model/contrastive_loss.h"
#include "model/ranking_loss.h"
#include "model/self_loss.h"

namespace micrec {
namespace {

struct LossKind {
  std::span<const char* const> parts;
  std::unique_ptr<LossTerm> (*make)(const PartInputs& inputs);
  void (*declare)(const ModelShape& shape, const RankPlace& at, StepCosts& costs);
};

template <typename Loss>
constexpr LossKind loss() {
  return {Loss::kParts,
          [](const PartInputs& inputs) -> std::unique_ptr<LossTerm> {
            return std::make_unique<Loss>(inputs);
          },
          &Loss::declare};
}

constexpr LossKind kLosses[] = {loss<RankingLoss>(), loss<SelfLoss>(), loss<ContrastiveLoss>()};

}  // namespace

std::vector<std::unique_ptr<LossTerm>> make_losses(const PartInputs& inputs) {
  std::vector<std::unique_ptr<LossTerm>> terms;
  for (const LossKind& kind : kLosses) terms.push_back(kind.make(inputs));
  return terms;
}

std::vector<const char*> parts_of_losses() {
  std::vector<const char*> all;
  for (const LossKind& kind : kLosses) all.insert(all.end(), kind.parts.begin(), kind.parts.end());
  return all;
}

void declare_losses(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  for (const LossKind& kind : kLosses) kind.declare(shape, at, costs);
}

}  // namespace micrec
