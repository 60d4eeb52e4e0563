#include "model/self_loss.h"

#include <ATen/ATen.h>

#include <utility>

#include "model/step/row_functions.h"

namespace micrec {
namespace {

bool is_on(const ModelConfig& config) { return config.inductive() && config.self_weight > 0; }

}  // namespace

SelfLoss::SelfLoss(const PartInputs& inputs)
    : config_(inputs.config), embedding_(inputs.embedding) {
  if (!config_.inductive()) return;
  form_ = inputs.state.add_parameter("self_weight", at::ones({embedding_.table().size(1)}),
                                     inputs.shard.device, Placement::columns,
                                     "diagonal bilinear form of the self-enhanced loss");
}

void SelfLoss::want_rows(StepContext& step) const {
  if (!is_on(config_)) return;
  step.wants_templates = true;
  const TripleBatch& batch = step.batch();
  std::vector<double> weights = step.planned_here(step.triple_weights);
  for (std::int64_t t = 0; t < batch.size(); ++t) {
    const bool are_templates = embedding_.is_template(batch.user[t]) &&
                               embedding_.is_template(batch.positive[t]) &&
                               embedding_.is_template(batch.negative[t]);
    weights[t] *= are_templates ? config_.self_weight : 0;
  }
  step.self_weights = step.plan(std::move(weights));
}

void SelfLoss::want_of_items(StepContext& step) {
  if (!is_on(config_)) return;
  rows_of_items_ = step.items.add(step.rows_of_requested(step.templates));
}

void SelfLoss::add_loss(StepContext& step) {
  if (!is_on(config_)) return;
  const at::Tensor items = step.items.of(rows_of_items_);  // (2n, width)
  const RowGroups groups = step.groups_of_triples();
  const at::Tensor user =
      times_row(step.rows_of_users(step.templates), step.dense.parameter(*form_), groups);
  const at::Tensor scores =
      block_dots("step.self_scores", at::cat({user, items}), 3, {{0, 1}, {0, 2}}, step.sums);
  TripleSums sums;
  step.add_loss(triple_loss(scores, step.planned(step.self_weights), 0, groups, sums));
  step.report("self", sums.ranking);
}

void SelfLoss::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  if (!is_on(shape.config)) return;
  DenseInputs::declare_parameter(at, 1, costs);
  BatchItems::declare_added(at, /*rows=*/1, costs);
  costs.exchange("step.self_scores", Group::columns, 1,
                 at.gathered_bytes(Group::columns, 2 * at.triples()));
  costs.copied_bytes(4 * at.triples() * at.row_bytes());
}

}  // namespace micrec
