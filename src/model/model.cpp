#include "model/model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <utility>

#include "graph/linear_operator.h"

namespace micrec {
namespace {

/// Shares of the parts, `shape` each, as (shape, parts); undefined ones are zero.
at::Tensor side_by_side(std::vector<at::Tensor> shares, at::IntArrayRef shape,
                        const at::Tensor& zero) {
  for (at::Tensor& share : shares) {
    if (!share.defined()) share = zero.expand(shape);
  }
  return at::stack(shares, -1);
}

}  // namespace

// Parts are made in the order in which checkpoints have their tensors.
Model::Model(const ModelConfig& config, const DatasetFile& dataset, const Shard& shard,
             std::uint64_t seed, const std::vector<SemanticLists>& semantic)
    : config_(config),
      shard_(&shard),
      seed_(seed),
      sums_(shard.grid, config.dim, shard.columns),
      overlaps_(
          find_overlaps(shard.space(), shard.summary->people, shard.summary->training_degree)),
      one_(at::ones({}, at::TensorOptions(at::kDouble).device(shard.device))),
      zero_(at::zeros_like(one_)),
      embedding_(inputs(dataset, semantic)),
      fit_(make_table_fit(inputs(dataset, semantic), embedding_)),
      losses_(make_losses(inputs(dataset, semantic))),
      content_(inputs(dataset, semantic)),
      semantic_(inputs(dataset, semantic)),
      propagation_(inputs(dataset, semantic), semantic_),
      ridge_(inputs(dataset, semantic)),
      item_regression_(inputs(dataset, semantic)) {}

PartInputs Model::inputs(const DatasetFile& dataset, const std::vector<SemanticLists>& semantic) {
  return {config_, dataset, *shard_, sums_, overlaps_, seed_, state_, embedding_, semantic};
}

void Model::initialise() {
  embedding_.initialise();
  if (fit_) fit_->initialise();
  content_.initialise();
  refresh();
}

void Model::refresh() {
  const c10::NoGradGuard no_gradient;
  embedding_.refresh();
  content_.refresh();
  shard_->graph->forget_buffers();  // no step has sums as wide as features
}

std::unique_ptr<StepContext> Model::plan(TripleBatch batch, std::int64_t batch_rows,
                                         StepTime time) {
  auto step = std::make_unique<StepContext>(*shard_, sums_, seed_, std::move(batch), batch_rows,
                                            time, parts_of_losses());
  for (const auto& term : losses_) term->want_rows(*step);
  embedding_.plan(*step);
  content_.plan(*step);
  if (config_.cold_simulation > 0) semantic_.plan_cold(*step);
  const bool all = config_.cold_simulation > 0;  // rows are computed
  step->takes_wanted = all || propagation_.takes_wanted();
  step->propagates_wanted = !all && config_.layers > 0;
  step->finish_plan();
  return step;
}

void Model::loss(StepContext& step) {
  step.begin_forward();

  // Graph rows of the nodes that somebody wants.
  const at::Tensor e = embedding_.rows(step);
  if (config_.cold_simulation > 0) {
    const at::Tensor all = propagation_.rows(step, e);
    step.z = step.wanted_of(semantic_.simulate_cold(step, all));
  } else {
    step.z = propagation_.wanted_rows(step, e);
  }

  // What the batch needs of its items, in one exchange.
  const BatchItems::Handle z_of_items = step.items.add(step.rows_of_requested(step.z));
  content_.want_of_items(step);
  for (const auto& term : losses_) term->want_of_items(step);
  step.exchange_items();

  // Final rows of the triples: a block for the users, one for the positives, one for the negatives.
  step.final_rows = at::cat({step.rows_of_users(step.z), step.items.of(z_of_items)});
  if (content_.is_on()) step.final_rows = step.final_rows + content_.rows(step);
  for (const auto& term : losses_) term->add_loss(step);
}

LossValues Model::backward(StepContext& step, at::Tensor& votes) {
  const StepShare& share = step.share;
  run_backward(share.terms, std::vector<at::Tensor>(share.terms.size(), one_));
  const c10::NoGradGuard no_gradient;
  const auto parts = static_cast<std::int64_t>(share.parts.size());
  const bool is_here = shard_->device.is_cpu();
  DenseInputs::Extra extra;
  extra.of_groups = side_by_side(share.of_summands, {shard_->summands()}, zero_);
  extra.of_ranks = side_by_side(share.of_rank, {}, zero_);
  if (is_here) extra.of_ranks = at::cat({extra.of_ranks, votes});
  step.dense.finish(extra);
  if (is_here) {
    votes.copy_(extra.of_ranks.slice(0, parts));
  } else {
    shard_->world->all_reduce("step.votes", votes);
  }
  return {share.parts, extra.of_groups + extra.of_ranks.slice(0, 0, parts)};
}

LossValues Model::solve(at::Tensor& votes) {
  const c10::NoGradGuard no_gradient;
  CHECK(fit_) << name_of(config_.kind) << " descends by gradients";
  const StepLoss fitted = fit_->step(votes);
  std::vector<double> values;
  const std::vector<const char*> parts = parts_of_losses();
  for (const char* part : parts) values.push_back(fitted.of(part));
  return {parts, at::tensor(values, at::kDouble)};
}

at::Tensor Model::embeddings(std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  StepContext context(*shard_, sums_, epoch);
  at::Tensor e = embedding_.inferred_rows(context);
  if (fit_) fit_->infer_new(e);
  at::Tensor z = propagation_.rows(context, e);
  if (semantic_.is_on()) z = semantic_.fill_cold(context, z);
  if (content_.is_on()) z = z + content_.all_rows(context);
  z = shard_->columns_of_rows->to_whole("embeddings.whole", z.contiguous());
  if (z.is_alias_of(embedding_.table())) z = z.clone();  // without layers and all else
  ridge_.fill_in(z);
  return z;
}

/// What people who join later read of the graph; undefined where nothing is propagated.
at::Tensor Model::read_by_new(std::int64_t epoch) {
  if (config_.layers == 0) return {};
  StepContext context(*shard_, sums_, epoch);
  return propagation_.read_by_new(context, embedding_.inferred_rows(context));
}

RowsOfNew Model::rows_of_new(std::int64_t epoch) {
  if (fit_) return fit_->rows_of_new();
  return [this, epoch, read = read_by_new(epoch), base = embedding_.rows_of_new(epoch)](
             const Pattern& items, int domain) {
    at::Tensor z = base(items, domain);
    if (read.defined()) z = propagation_.rows_of_new(items, z, read);
    if (!content_.is_on()) return z;
    StepContext context(*shard_, sums_, epoch);
    return z + content_.rows_of_new(context, items);
  };
}

Model::NewUserRows Model::new_user_rows(std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  CHECK_EQ(shard_->world->size(), 1) << "new users are inferred on one rank";
  return [this, infer = rows_of_new(epoch)](int domain,
                                            const std::vector<std::vector<std::int32_t>>& history) {
    const c10::NoGradGuard no_gradient_here;
    Pattern items;
    for (const std::vector<std::int32_t>& of_user : history) {
      for (const std::int32_t item : of_user) {
        items.columns.push_back(shard_->row_of[value(shard_->space().item(domain, item))]);
      }
      items.offsets.push_back(static_cast<std::int64_t>(items.columns.size()));
    }
    return infer(items, domain).cpu();
  };
}

Model::NewUserShares Model::new_user_shares(std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  CHECK_EQ(shard_->world->size(), 1) << "new users are inferred on one rank";
  if (fit_) {
    return [rows = new_user_rows(epoch)](int domain, const std::vector<std::int32_t>& history) {
      const at::Tensor row = rows(domain, {history});
      const auto items = static_cast<std::int64_t>(history.size());
      return at::cat({at::zeros({items, row.size(1)}), row});
    };
  }
  const at::Tensor read = read_by_new(epoch);
  return [this, epoch, read](int domain, const std::vector<std::int32_t>& history) {
    const c10::NoGradGuard no_gradient_here;
    std::vector<std::int64_t> owned;
    for (const std::int32_t item : history) {
      owned.push_back(shard_->row_of[value(shard_->space().item(domain, item))]);
    }
    const at::Tensor rows = at::tensor(owned, at::kLong).to(shard_->device);
    at::Tensor shares = embedding_.shares_of_new(rows, domain, epoch);
    if (read.defined()) shares = propagation_.shares_of_new(rows, shares, read);
    if (content_.is_on() && !history.empty()) {
      shares.slice(0, 0, rows.size(0)).add_(content_.shares_of_new(rows));
    }
    return shares.cpu();
  };
}

void Model::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  declare_shard(at, shape.domains, costs);
  if (shape.config.is_solved()) {
    declare_table_fit(shape, at, costs);
    ItemRegression::declare(shape, at, costs);
    return;
  }
  StepContext::declare(at, costs);
  TemplateEmbedding::declare(shape, at, costs);
  SemanticNeighbours::declare(shape, at, costs);
  Propagation::declare(shape, at, costs);
  BatchItems::declare(at, costs);
  ContentTerm::declare(shape, at, costs);
  declare_losses(shape, at, costs);
  const auto parts = static_cast<double>(parts_of_losses().size());
  DenseInputs::declare(at, costs, parts, parts);
  ItemRegression::declare(shape, at, costs);
}

}  // namespace micrec
