#include "model/ranking_loss.h"

#include <utility>

#include "model/step/row_functions.h"

namespace micrec {

RankingLoss::RankingLoss(const PartInputs& inputs) : config_(inputs.config) {
  const std::vector<std::int64_t>& interactions = inputs.shard.summary->training_interactions;
  double all = 0;
  for (const std::int64_t n : interactions) all += static_cast<double>(n);
  const int domains = inputs.shard.space().domains();
  for (const std::int64_t n : interactions) {
    const bool balanced = config_.domain_weights == DomainWeights::balanced && n > 0;
    domain_weight_.push_back(balanced ? static_cast<float>(all / (domains * static_cast<double>(n)))
                                      : 1.0F);
  }
}

void RankingLoss::want_rows(StepContext& step) const {
  // Each triple counts 1 / (triples of all ranks), times its domain's weight.
  const TripleBatch& batch = step.batch();
  std::vector<double> weights(batch.size());
  for (std::int64_t t = 0; t < batch.size(); ++t) {
    weights[t] =
        batch.weight[t] * domain_weight_[batch.domain[t]] / static_cast<double>(step.batch_rows());
  }
  step.triple_weights = step.plan(std::move(weights));
}

void RankingLoss::add_loss(StepContext& step) {
  std::vector<std::pair<int, int>> pairs = {{0, 1}, {0, 2}};
  if (config_.l2 > 0) pairs.insert(pairs.end(), {{0, 0}, {1, 1}, {2, 2}});
  TripleSums sums;
  step.add_loss(triple_loss(block_dots("step.scores", step.final_rows, 3, pairs, step.sums),
                            step.planned(step.triple_weights), config_.l2, step.groups_of_triples(),
                            sums));
  step.report("ranking", sums.ranking);
  step.report("l2", sums.squares);
}

void RankingLoss::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  const int dots = shape.config.l2 > 0 ? 5 : 2;
  costs.exchange("step.scores", Group::columns, 1,
                 at.gathered_bytes(Group::columns, dots * at.triples()));
  costs.copied_bytes(8 * at.triples() * at.row_bytes());
}

}  // namespace micrec
