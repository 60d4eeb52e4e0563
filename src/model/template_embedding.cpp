#include "model/template_embedding.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"
#include "graph/operators.h"
#include "kernels/neighbour_sum.h"
#include "kernels/row_product.h"
#include "kernels/rows.h"
#include "kernels/upload.h"
#include "model/step/row_functions.h"

namespace micrec {
namespace {

constexpr std::int32_t kTokenColumn = std::numeric_limits<std::int32_t>::max();

/// s^(a/2 - 1) with s = count + 1, one number at a time: a vectorised power has other last bits
/// than the scalar one that takes the rest of a tensor, so a node's would depend on which rows its
/// rank owns.
at::Tensor template_scale(const at::Tensor& count, double annealing) {
  const double exponent = annealing / 2 - 1;
  at::Tensor scale = at::empty_like(count);
  const float* const in = count.const_data_ptr<float>();
  float* const out = scale.mutable_data_ptr<float>();
  parallel_for(count.numel(), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      out[row] = static_cast<float>(std::pow(static_cast<double>(in[row]) + 1, exponent));
    }
  });
  return scale;
}

/// The scales of counts 0 to `most`.
std::vector<float> scales_of_counts(std::int64_t most, double annealing) {
  return download<float>(template_scale(at::arange(most + 1, at::kFloat), annealing));
}

double annealed(const ModelConfig& config, std::int64_t epoch) {
  return std::pow(config.annealing, static_cast<double>(epoch));
}

/// The dropout of a step; none in inference.
EdgeDropout dropout_of(const ModelConfig& config, const StepContext& context) {
  if (!context.trains()) return {0, 0, false};
  const Random random(context.seed, Purpose::template_dropout,
                      static_cast<std::uint32_t>(context.time.step));
  return {static_cast<float>(config.dropout), random.bits(0)[0], false};
}

}  // namespace

TemplateEmbedding::TemplateEmbedding(const PartInputs& inputs)
    : config_(inputs.config), shard_(inputs.shard), sums_(inputs.sums), seed_(inputs.seed) {
  const std::int64_t rows = shard_.owned_rows();
  const std::int64_t width = sums_.width();
  if (config_.is_solved()) {
    table_ = inputs.state.add_buffer("embedding", at::zeros({rows, width}).to(shard_.device),
                                     Placement::nodes_and_columns, "embedding table (node, dim)");
    return;
  }
  table_ = inputs.state.add_parameter("embedding", at::zeros({rows, width}), shard_.device,
                                      Placement::nodes_and_columns,
                                      config_.inductive() ? "template rows p_v and q_j (node, dim)"
                                                          : "embedding table (node, dim)");
  if (!config_.inductive()) return;
  tokens_ = inputs.state.add_parameter("tokens", at::zeros({2 * shard_.space().domains(), width}),
                                       shard_.device, Placement::columns,
                                       "global tokens: users of each domain, then items of each");
  template_mask_ = at::zeros({rows}, at::kByte);
  inputs.state.add_buffer("template_mask", template_mask_, Placement::nodes,
                          "1 where the node's row is a template");
  give_tokens();
}

// A row's token is that of its kind; every summand has a copy, whose gradient is the sum over its
// rows.
void TemplateEmbedding::give_tokens() {
  const std::int64_t kinds = shard_.kind.size(1);
  const at::Tensor kind = shard_.kind.argmax(1).to(at::kInt).cpu();
  std::vector<std::int32_t> token_of(kind.numel());
  for (std::size_t row = 0; row < token_of.size(); ++row) {
    token_of[row] = static_cast<std::int32_t>(shard_.summand_of_row[row] * kinds) +
                    kind.const_data_ptr<std::int32_t>()[row];
  }
  token_of_ = upload(token_of, shard_.device);
  token_rows_ = gathered_from(token_of, shard_.summands() * kinds);
}

void TemplateEmbedding::initialise() {
  draw_normal(*table_, shard_, config_.initial_std, seed_, InitialStream::embedding);
  if (!config_.inductive()) return;
  draw_normal(*tokens_, shard_, config_.initial_std, seed_, InitialStream::tokens);
  choose_templates();
}

// A rank's rows are those of its nodes by rising number.
template <typename Number>
std::vector<Number> TemplateEmbedding::of_all_nodes(const char* name,
                                                    const at::Tensor& of_owned) const {
  const Arrival arrival = arrival_of(shard_.ownership.owner, shard_.communicator->size());
  const at::Tensor all =
      shard_.communicator->all_gather(name, of_owned.contiguous(), arrival.rows_per_rank);
  std::vector<Number> numbers;
  numbers.reserve(arrival.row_of.size());
  for (const std::int32_t row : arrival.row_of) {
    numbers.push_back(all.const_data_ptr<Number>()[row]);
  }
  return numbers;
}

// The top share of the users and of the items of each domain by s(u) = sum of 1 / |N(i)| over N(u);
// nodes without a training interaction are never templates. Ties go to the smaller number.
void TemplateEmbedding::choose_templates() {
  const c10::NoGradGuard no_gradient;
  const ShardedGraph& graph = *shard_.graph;
  const at::Tensor trained = shard_.training_degree > 0;
  if (config_.template_ratio >= 1) {
    template_mask_.copy_(trained);
    return;
  }
  const at::Tensor degree = shard_.degree.cpu();
  const at::Tensor inverse_degree =
      at::where(degree > 0, degree.clamp_min(1).reciprocal(), at::zeros_like(degree));
  const at::Tensor score =
      neighbour_sum(graph.pattern(), inverse_degree.unsqueeze(1), {}).squeeze(1);
  const NodeSpace& space = shard_.space();
  const std::vector<float> score_of = of_all_nodes<float>("templates.scores", score);
  template_mask_.zero_();
  const auto choose = [&](Range range) {
    std::vector<std::int32_t> order;
    for (std::int64_t node = range.begin; node < range.end; ++node) {
      if (score_of[node] > 0) order.push_back(static_cast<std::int32_t>(node));
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t a, std::int32_t b) { return score_of[a] > score_of[b]; });
    const auto kept = static_cast<std::size_t>(
        std::ceil(config_.template_ratio * static_cast<double>(order.size())));
    for (std::size_t n = 0; n < kept; ++n) {
      if (const auto row = shard_.row_of[order[n]]; row >= 0) {
        template_mask_.data_ptr<std::uint8_t>()[row] = 1;
      }
    }
  };
  for (int domain = 0; domain < space.domains(); ++domain) {
    choose(space.users_of(domain));
    choose(space.items_of(domain));
  }
}

void TemplateEmbedding::refresh() {
  if (!config_.inductive()) return;
  templates_ = of_all_nodes<std::uint8_t>("templates.mask", template_mask_);
  const ShardedGraph& graph = *shard_.graph;
  const at::Tensor mask = template_mask_.to(at::kFloat);
  is_template_ = graph.with_halo("halo.template_mask", mask);
  at::Tensor count = neighbour_sum(graph.pattern(), is_template_.unsqueeze(1), {}).squeeze(1);
  const bool is_masked = mask_says_something(count);
  if (config_.share_templates > 0) {
    count =
        count.index_add(0, shard_.link_to.cpu(),
                        count.index_select(0, shard_.link_from.cpu()) * config_.share_templates);
  }
  template_count_ = graph.with_halo("halo.template_count", count.contiguous());
  if (config_.share_templates == 0) {  // Then they are whole numbers.
    template_count_ = template_count_.to(at::kInt);
    most_templates_ = template_count_.numel() > 0 ? template_count_.max().item<std::int32_t>() : 0;
    template_count_ = template_count_.to(shard_.device);
  }
  is_template_ = is_template_.to(shard_.device);
  sum_mask_ = is_masked ? is_template_ : at::Tensor();
  scale_epoch_ = -1;
}

// Forward it is about what the own rows read, which may all be of other ranks; backward about the
// own rows themselves.
bool TemplateEmbedding::mask_says_something(const at::Tensor& count) const {
  const Pattern& pattern = shard_.graph->pattern();
  const float* const templates = count.const_data_ptr<float>();
  const auto* const mask = template_mask_.const_data_ptr<std::uint8_t>();
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    const std::int64_t degree = pattern.degree(row);
    if (degree > 0 && (mask[row] == 0 || templates[row] != static_cast<float>(degree))) return true;
  }
  return false;
}

void TemplateEmbedding::let_in(const at::Tensor& is_new, std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  if (!config_.inductive()) {
    const at::Tensor known = (shard_.training_degree > 0).logical_and(is_new.logical_not());
    const at::Tensor mean =
        mean_rows_of_kinds(shard_, table(), known).index_select(0, shard_.kind.argmax(1));
    table_->value.copy_(at::where(is_new.unsqueeze(1), mean, table()));
    return;
  }
  StepContext context(shard_, sums_, epoch);
  const at::Tensor inferred = rows(context);
  const at::Tensor was_template = template_mask_.to(at::kBool).to(shard_.device);
  table_->value.copy_(at::where(was_template.unsqueeze(1), table(), inferred));
  choose_templates();
  refresh();
}

const at::Tensor& TemplateEmbedding::scale(std::int64_t epoch) {
  if (scale_epoch_ != epoch) {
    const double annealing = annealed(config_, epoch);
    scale_ = config_.share_templates == 0
                 ? upload(scales_of_counts(most_templates_, annealing), shard_.device)
                       .index_select(0, template_count_)
                 : template_scale(template_count_, annealing).to(shard_.device);
    scale_epoch_ = epoch;
  }
  return scale_;
}

// The token's weight is that of a neighbour which dropout knows by a number of its own.
at::Tensor TemplateEmbedding::token_weight(const StepContext& context,
                                           const at::Tensor& own_scale) const {
  if (dropout_of(config_, context).probability == 0) return own_scale;
  return own_scale * context.planned(context.token_keep);
}

void TemplateEmbedding::plan(StepContext& step) const {
  const EdgeDropout dropout = dropout_of(config_, step);
  if (!config_.inductive() || dropout.probability == 0) return;
  const std::vector<GlobalNode>& owned = shard_.owned();
  std::vector<float> keep(owned.size());
  parallel_for(shard_.owned_rows(), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      keep[row] = keeps_edge(dropout.seed, dropout.probability, value(owned[row]), kTokenColumn)
                      ? 1 / (1 - dropout.probability)
                      : 0;
    }
  });
  step.token_keep = step.plan(std::move(keep));
}

at::Tensor TemplateEmbedding::rows(StepContext& context) {
  if (!config_.inductive()) return table();
  const ShardedGraph& graph = *shard_.graph;
  const EdgeDropout dropout = dropout_of(config_, context);
  const at::Tensor& scale = this->scale(context.time.epoch);
  const at::Tensor own_scale = scale.slice(0, 0, graph.owned_rows());
  const RowTokens tokens{context.dense.parameter(*tokens_), token_of_,
                         token_weight(context, own_scale), &token_rows_};
  const std::shared_ptr<const SelectedRows> table_rows =
      context.wants_templates ? context.wanted_rows() : nullptr;
  if (config_.share_templates == 0) {
    const TemplateSum sum =
        template_sum(graph, table(), scale, sum_mask_, dropout, &tokens, table_rows);
    context.templates = sum.templates;
    return sum.rows;
  }
  const TemplateSum sum =
      template_sum(graph, table(), at::ones_like(scale), sum_mask_, dropout, nullptr, table_rows);
  context.templates = sum.templates;
  return sum.rows.index_add(0, shard_.link_to,
                            sum.rows.index_select(0, shard_.link_from) * config_.share_templates) *
             own_scale.unsqueeze(1) +
         grouped_row_product(shard_.kind * tokens.weight.unsqueeze(1), tokens.tokens,
                             shard_.summand_rows);
}

at::Tensor TemplateEmbedding::inferred_rows(StepContext& context) {
  if (config_.inductive()) return rows(context);
  const at::Tensor mean = means_of_old().index_select(0, shard_.kind.argmax(1));
  return at::where((shard_.training_degree > 0).unsqueeze(1), table(), mean);
}

// Plain tables have no row for a node that training did not see; like INMO's paper, it gets the
// mean of the old rows of its kind.
at::Tensor TemplateEmbedding::means_of_old() const {
  return mean_rows_of_kinds(shard_, table(), shard_.training_degree > 0);
}

RowsOfNew TemplateEmbedding::rows_of_new(std::int64_t epoch) const {
  if (!config_.inductive()) {
    return [means = means_of_old()](const Pattern& items, int domain) {
      return means[domain].unsqueeze(0).repeat({items.rows(), 1});
    };
  }
  return [this, epoch](const Pattern& items, int domain) {
    const at::Tensor count = neighbour_sum(items, is_template_.unsqueeze(1), {}).squeeze(1);
    const at::Tensor scale =
        template_scale(count.cpu().contiguous(), annealed(config_, epoch)).to(shard_.device);
    SumOptions options;
    options.scaling = {scale, is_template_};
    const at::Tensor e = neighbour_sum(items, table(), options);
    const at::Tensor kind = at::zeros({items.rows(), shard_.kind.size(1)}, shard_.kind.options());
    kind.select(1, domain).copy_(scale);
    return e + row_product(kind, tokens_->value);
  };
}

at::Tensor TemplateEmbedding::shares_of_new(const at::Tensor& rows, int domain,
                                            std::int64_t epoch) const {
  const at::Tensor& table = this->table();
  if (!config_.inductive()) {
    return at::cat({at::zeros({rows.size(0), table.size(1)}, table.options()),
                    means_of_old()[domain].unsqueeze(0)});
  }
  const at::Tensor is_template = is_template_.index_select(0, rows);
  const at::Tensor scale =
      template_scale(is_template.sum().reshape({1}).cpu().contiguous(), annealed(config_, epoch))
          .to(table.device());
  return scale * at::cat({table.index_select(0, rows) * is_template.unsqueeze(1),
                          tokens_->value[domain].unsqueeze(0)});
}

void TemplateEmbedding::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  costs.memory(MemoryKind::embeddings, at.matrix_bytes());
  costs.memory(MemoryKind::activations, at.matrix_bytes());  // base rows
  costs.memory(MemoryKind::evaluation,
               4 * at.matrix_bytes() + 2 * at.halo_received() * at.row_bytes());
  costs.memory_in_turn(MemoryKind::halo_buffers,
                       at.row_bytes() * (2 * at.halo_received() + at.halo_sent()));
  costs.copied_bytes(3.5 * at.matrix_bytes());  // Adam reads four numbers and writes three
  if (!shape.config.inductive()) return;
  const double halo = at.halo_sent() * at.row_bytes();
  costs.exchange("halo.template", Group::rows, 1, halo);
  costs.exchange("halo.template.backward", Group::rows, 1, halo);
  DenseInputs::declare_parameter(at, 2 * shape.domains, costs);  // tokens
  // Mask, counts and scale of the nodes; each row's token and each token's rows.
  costs.memory(MemoryKind::graph, 3 * kFloatBytes * (at.rows() + at.halo_received()));
  costs.memory(MemoryKind::graph, 2 * kNodeBytes * at.rows());
  costs.memory(MemoryKind::graph, static_cast<double>(at.of.dataset.nodes));  // who is one
  costs.neighbour_bytes(2 * at.nonzeros() * at.nonzero_bytes());
  costs.copied_bytes(at.matrix_bytes());  // read for the tokens' gradient
}

}  // namespace micrec
