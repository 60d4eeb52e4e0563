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

Losses::Losses(PartInputs inputs, const TemplateEmbedding& embedding) {
  inputs.embedding = &embedding;
  for (const LossKind& kind : kLosses) terms_.push_back(kind.make(inputs));
}

std::vector<const char*> Losses::parts() {
  std::vector<const char*> all;
  for (const LossKind& kind : kLosses) all.insert(all.end(), kind.parts.begin(), kind.parts.end());
  return all;
}

void Losses::want_rows(StepContext& step) const {
  for (const auto& term : terms_) term->want_rows(step);
}

void Losses::want_of_items(StepContext& step) {
  for (const auto& term : terms_) term->want_of_items(step);
}

void Losses::add(StepContext& step) {
  for (const auto& term : terms_) term->add_loss(step);
}

void Losses::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  for (const LossKind& kind : kLosses) kind.declare(shape, at, costs);
}

}  // namespace micrec
