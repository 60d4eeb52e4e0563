#include "model/model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "graph/linear_operator.h"
#include "graph/operators.h"
#include "graph/row_product.h"
#include "kernels/neighbour_sum.h"
#include "kernels/row_set.h"
#include "kernels/upload.h"
#include "model/row_functions.h"

namespace micrec {
namespace {

constexpr std::int32_t kTokenColumn = std::numeric_limits<std::int32_t>::max();

/// Streams of initial values: one a tensor, so that a tensor's values do not depend on which others
/// there are.
enum InitialStream : std::uint32_t { kEmbedding = 0, kTokens = 1, kProjection = 16 };

/// Fills row r with normal numbers that belong to the id rows[r], those of `own` of `dim` columns.
void fill_normal(at::Tensor& rows, const std::vector<GlobalNode>* ids, double std,
                 std::uint64_t seed, std::uint32_t stream, Range own, std::int64_t dim,
                 int threads) {
  const c10::NoGradGuard no_gradient;
  const Random random(seed, Purpose::initial_values, stream);
  const std::int64_t pairs = (dim + 1) / 2;
  at::Tensor drawn = rows.device().is_cpu() ? rows : at::empty(rows.sizes(), at::kFloat);
  float* out = drawn.data_ptr<float>();
  parallel_for(rows.size(0), 256, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t id = ids != nullptr ? value((*ids)[row]) : row;
      for (std::int64_t pair = own.begin / 2; 2 * pair < own.end; ++pair) {
        const auto normal = random.normal(static_cast<std::uint64_t>(id * pairs + pair));
        for (const int half : {0, 1}) {
          const std::int64_t column = 2 * pair + half;
          if (!own.contains(column)) continue;
          out[row * own.size() + column - own.begin] = static_cast<float>(std * normal[half]);
        }
      }
    }
  });
  if (!drawn.is_same(rows)) rows.copy_(drawn);
}

/// s^(a/2 - 1) with s = count + 1, one number at a time: a vectorised power has other last bits
/// than the scalar one that takes the rest of a tensor, so a node's would depend on which rows its
/// rank owns.
at::Tensor template_scale(const at::Tensor& count, double annealing, int threads) {
  const double exponent = annealing / 2 - 1;
  at::Tensor scale = at::empty_like(count);
  const float* const in = count.const_data_ptr<float>();
  float* const out = scale.mutable_data_ptr<float>();
  parallel_for(count.numel(), 4096, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      out[row] = static_cast<float>(std::pow(static_cast<double>(in[row]) + 1, exponent));
    }
  });
  return scale;
}

}  // namespace

Model::Model(const ModelConfig& config, const DatasetFile& dataset, const Shard& shard,
             std::uint64_t seed)
    : config_(config),
      dataset_(&dataset),
      shard_(&shard),
      seed_(seed),
      columns_(columns_of(shard.grid, config.dim, shard.column_part())),
      width_(columns_.size()),
      sums_(shard.grid, config.dim, shard.columns),
      dense_(shard.summands(), width_) {
  const std::int64_t rows = shard.owned_rows();
  const int domains = shard.space().domains();
  add_parameter(
      "embedding", at::zeros({rows, width_}), true, true,
      config.inductive() ? "template rows p_v and q_j (node, dim)" : "embedding table (node, dim)");
  if (config.inductive()) {
    add_parameter("tokens", at::zeros({2 * domains, width_}), false, true,
                  "global tokens: users of each domain, then items of each");
    add_parameter("self_weight", at::ones({width_}), false, true,
                  "diagonal bilinear form of the self-enhanced loss");
    template_mask_ = at::zeros({rows}, at::kByte);
    add_buffer("template_mask", template_mask_, true, "1 where the node's row is a template");
  }
  for (const std::string& name : config.modalities) {
    Modality modality;
    modality.statistics = empty_statistics(dataset, name, config.feature_dim);
    const FeatureStatistics& statistics = modality.statistics;
    if (config.has_content()) {
      add_buffer("features." + name + ".mean", statistics.mean, false, "centre of the features");
      if (statistics.components.defined()) {
        add_buffer("features." + name + ".components", statistics.components, false,
                   "principal directions (width, columns)");
      }
      add_buffer("features." + name + ".scale", statistics.scale, false, "overall scale");
      add_parameter("content.projection." + name, at::zeros({statistics.columns(), width_}), false,
                    true, "W of the content term (columns, dim)");
    }
    if (config.has_semantic()) {
      modality.semantic = find_semantic_neighbours(dataset, shard, name, config.semantic_neighbors);
      has_semantic_ = has_semantic_.defined()
                          ? at::maximum(has_semantic_, modality.semantic.present)
                          : modality.semantic.present;
    }
    modalities_.push_back(std::move(modality));
  }
  modality_sets_ =
      every_modality_set(static_cast<std::int64_t>(modalities_.size())).to(shard.device);
  if (config.has_semantic()) {
    number_semantic_sets();
    for (Modality& modality : modalities_) modality.semantic.graph->move_to(shard.device);
    has_semantic_ = has_semantic_.to(shard.device);
  }
  const auto count = static_cast<std::int64_t>(config.modalities.size());
  if (config.has_content()) {
    add_parameter("content.scale", at::ones({1}), false, false, "scale of the content term");
    add_parameter("content.logits", at::zeros({count}), false, false, "shares of the modalities");
  }
  if (config.has_semantic()) {
    add_parameter("semantic.gate", at::ones({domains}), false, false, "g of each domain");
    add_parameter("semantic.logits", at::zeros({count}), false, false, "shares of the modalities");
  }
  overlaps_ = find_overlaps(*shard.summary);
  ridge_ = empty_ridge_maps(overlaps_, config.dim);
  for (const RidgeMap& map : ridge_) {
    add_buffer(text("ridge.", map.from, ".", map.to), map.map, false,
               "user rows of the first domain to the second (dim + 1, dim)");
  }
  ridge_fitted_ = at::zeros({1}, at::kByte);
  add_buffer("ridge.fitted", ridge_fitted_, false, "1 once the maps were fitted");

  const std::vector<std::int64_t>& interactions = shard.summary->training_interactions;
  double all = 0;
  for (const std::int64_t n : interactions) all += static_cast<double>(n);
  for (const std::int64_t n : interactions) {
    const bool balanced = config.domain_weights == DomainWeights::balanced && n > 0;
    domain_weight_.push_back(balanced ? static_cast<float>(all / (domains * static_cast<double>(n)))
                                      : 1.0F);
  }
}

void Model::number_semantic_sets() {
  std::vector<at::Tensor> present;
  for (const Modality& modality : modalities_) present.push_back(modality.semantic.present);
  const at::Tensor sets = modality_sets(present);
  const std::int64_t sets_of_domain = std::int64_t{1} << modalities_.size();
  // Users are in no domain of items; they have no neighbours either.
  const at::Tensor domain = shard_->item_domain.cpu().argmax(1).to(at::kInt);
  const at::Tensor none = at::full_like(sets, -1);
  semantic_set_ = at::where(sets > 0, sets, none).to(shard_->device);
  semantic_set_of_domain_ =
      at::where(sets > 0, sets + domain * sets_of_domain, none).to(shard_->device);
}

void Model::add_parameter(const std::string& name, at::Tensor value, bool sharded, bool by_columns,
                          const std::string& description) {
  value = value.to(shard_->device);
  Parameter parameter{name,       value,      at::zeros_like(value), at::zeros_like(value), sharded,
                      by_columns, description};
  parameter.value.requires_grad_(true);
  parameters_.push_back(std::move(parameter));
}

void Model::add_buffer(const std::string& name, const at::Tensor& value, bool sharded,
                       const std::string& description) {
  buffers_.push_back({name, value, sharded, description});
}

at::Tensor Model::parameter(const std::string& name) const {
  const auto found = std::ranges::find(parameters_, name, &Parameter::name);
  CHECK(found != parameters_.end()) << "no parameter is called " << name;
  return found->value;
}

at::Tensor Model::dense(const std::string& name) {
  const auto found = std::ranges::find(parameters_, name, &Parameter::name);
  CHECK(found != parameters_.end()) << "no parameter is called " << name;
  return dense_.parameter(*found);
}

void Model::initialise() {
  fill_initial_values();
  if (config_.inductive()) choose_templates();
  if (config_.has_content()) {
    for (Modality& modality : modalities_) {
      const FeatureStatistics fitted =
          fit_statistics(*dataset_, *shard_->summary, modality.statistics.modality,
                         config_.feature_dim, *shard_->world);
      modality.statistics.mean.copy_(fitted.mean);
      if (fitted.components.defined()) modality.statistics.components.copy_(fitted.components);
      modality.statistics.scale.copy_(fitted.scale);
    }
  }
  refresh();
}

void Model::fill_initial_values() {
  at::Tensor table = parameter("embedding");
  fill_normal(table, &shard_->owned(), config_.initial_std, seed_, kEmbedding, columns_,
              config_.dim, shard_->threads);
  if (config_.inductive()) {
    at::Tensor tokens = parameter("tokens");
    fill_normal(tokens, nullptr, config_.initial_std, seed_, kTokens, columns_, config_.dim,
                shard_->threads);
  }
  if (config_.has_content()) {
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      at::Tensor projection = parameter("content.projection." + config_.modalities[m]);
      const double std = 1 / std::sqrt(static_cast<double>(projection.size(0)));
      fill_normal(projection, nullptr, std, seed_, kProjection + static_cast<std::uint32_t>(m),
                  columns_, config_.dim, shard_->threads);
    }
  }
}

// The top share of the users and of the items of each domain by s(u) = sum of 1 / |N(i)| over N(u);
// nodes without a training interaction are never templates. Ties go to the smaller number.
void Model::choose_templates() {
  const c10::NoGradGuard no_gradient;
  const ShardedGraph& graph = *shard_->graph;
  const at::Tensor trained = shard_->training_degree > 0;
  if (config_.template_ratio >= 1) {
    template_mask_.copy_(trained);
    return;
  }
  const at::Tensor degree = shard_->degree.cpu();
  const at::Tensor inverse_degree =
      at::where(degree > 0, degree.clamp_min(1).reciprocal(), at::zeros_like(degree));
  const at::Tensor score =
      neighbour_sum(graph.pattern(), inverse_degree.unsqueeze(1), {}, shard_->threads).squeeze(1);
  const NodeSpace& space = shard_->space();
  const std::vector<std::int64_t> rows_per_rank =
      gather_counts(*shard_->communicator, "templates.counts", graph.owned_rows());
  std::vector<std::int64_t> own_nodes;
  for (const GlobalNode node : graph.owned()) own_nodes.push_back(value(node));
  const at::Tensor scores =
      shard_->communicator->all_gather("templates.scores", score.contiguous(), rows_per_rank);
  const at::Tensor nodes = shard_->communicator->all_gather(
      "templates.nodes", at::tensor(own_nodes, at::kLong), rows_per_rank);
  std::vector<float> score_of(space.nodes(), 0);
  for (std::int64_t n = 0; n < nodes.size(0); ++n) {
    score_of[nodes.data_ptr<std::int64_t>()[n]] = scores.data_ptr<float>()[n];
  }
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
      if (const auto row = shard_->row_of[order[n]]; row >= 0) {
        template_mask_.data_ptr<std::uint8_t>()[row] = 1;
      }
    }
  };
  for (int domain = 0; domain < space.domains(); ++domain) {
    choose(space.users_of(domain));
    choose(space.items_of(domain));
  }
}

void Model::refresh() {
  const c10::NoGradGuard no_gradient;
  const ShardedGraph& graph = *shard_->graph;
  if (config_.inductive()) {
    const at::Tensor mask = template_mask_.to(at::kFloat);
    template_local_ = graph.with_halo("halo.template_mask", mask);
    at::Tensor count =
        neighbour_sum(graph.pattern(), template_local_.unsqueeze(1), {}, shard_->threads)
            .squeeze(1);
    if (config_.share_templates > 0) {
      count =
          count.index_add(0, shard_->link_to.cpu(),
                          count.index_select(0, shard_->link_from.cpu()) * config_.share_templates);
    }
    template_count_ = graph.with_halo("halo.template_count", count.contiguous());
    template_local_ = template_local_.to(shard_->device);
    scale_epoch_ = -1;
  }
  if (config_.has_content()) {
    for (Modality& modality : modalities_) {
      modality.content = load_content(*dataset_, *shard_, modality.statistics);
    }
  }
}

const at::Tensor& Model::row_scale(std::int64_t epoch) {
  if (scale_epoch_ != epoch) {
    const double annealing = std::pow(config_.annealing, static_cast<double>(epoch));
    scale_ = template_scale(template_count_, annealing, shard_->threads).to(shard_->device);
    scale_epoch_ = epoch;
  }
  return scale_;
}

at::Tensor Model::base_rows(std::int64_t epoch, float dropout, std::uint32_t dropout_seed) {
  const at::Tensor table = parameter("embedding");
  if (!config_.inductive()) return table;
  const ShardedGraph& graph = *shard_->graph;
  const std::int64_t rows = graph.owned_rows();
  const EdgeDropout drop{dropout, dropout_seed, false};
  const at::Tensor& scale = row_scale(epoch);
  const at::Tensor own_scale = scale.slice(0, 0, rows);
  at::Tensor e;
  if (config_.share_templates > 0) {
    const at::Tensor sums =
        template_sum(graph, table, at::ones_like(scale), template_local_, drop, shard_->threads);
    e = sums.index_add(0, shard_->link_to,
                       sums.index_select(0, shard_->link_from) * config_.share_templates) *
        own_scale.unsqueeze(1);
  } else {
    e = template_sum(graph, table, scale, template_local_, drop, shard_->threads);
  }
  at::Tensor token_weight = own_scale;
  if (dropout > 0) {
    std::vector<float> keep(rows);
    for (std::int64_t row = 0; row < rows; ++row) {
      keep[row] = keeps_edge(dropout_seed, dropout, value(graph.owned()[row]), kTokenColumn)
                      ? 1 / (1 - dropout)
                      : 0;
    }
    token_weight = token_weight * upload(keep, shard_->device);
  }
  return e + grouped_row_product(shard_->kind * token_weight.unsqueeze(1), dense("tokens"),
                                 shard_->summand_rows, shard_->threads);
}

// g_k * sum_m b^m S^m e, zero for users and for items without the modality.
std::vector<SemanticHalo> Model::semantic_halos() const {
  if (!config_.has_semantic()) return {};
  Communicator& rows = *shard_->communicator;
  std::vector<SemanticHalo> halos;
  for (const Modality& modality : modalities_) {
    const HaloPlan& forward = modality.semantic.graph->graph().halo_plan();
    const HaloPlan& backward = modality.semantic.graph->transpose().halo_plan();
    at::Tensor own = at::empty({1, 4}, at::kLong);
    auto* const counts = own.mutable_data_ptr<std::int64_t>();
    counts[0] = static_cast<std::int64_t>(forward.send_local_rows.size());
    counts[1] = forward.halo_rows();
    counts[2] = static_cast<std::int64_t>(backward.send_local_rows.size());
    counts[3] = backward.halo_rows();
    const at::Tensor all = rows.all_gather(
        "plan.semantic", own, std::vector<std::int64_t>(static_cast<std::size_t>(rows.size()), 1));
    SemanticHalo halo;
    for (int part = 0; part < rows.size(); ++part) {
      const std::int64_t* const of = all.const_data_ptr<std::int64_t>() + 4 * part;
      halo.forward.sent.push_back(of[0]);
      halo.forward.received.push_back(of[1]);
      halo.backward.sent.push_back(of[2]);
      halo.backward.received.push_back(of[3]);
    }
    halos.push_back(std::move(halo));
  }
  return halos;
}

at::Tensor Model::semantic_sum(const at::Tensor& e) {
  const at::Tensor shares =
      modality_shares(parameter("semantic.logits"), modality_sets_);  // (sets, modalities)
  const at::Tensor gate = parameter("semantic.gate").unsqueeze(1);    // (domains, 1)
  at::Tensor sum;
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    const at::Tensor table = (gate * shares.select(1, static_cast<std::int64_t>(m))).reshape({-1});
    const at::Tensor part = times_table(
        weighted_sum(*modalities_[m].semantic.graph, e, shard_->threads), semantic_set_of_domain_,
        dense_.table(table), shard_->summand_rows, shard_->threads);
    sum = m == 0 ? part : sum + part;
  }
  return sum;
}

// sum_m b^m S^m z
at::Tensor Model::semantic_mean(const at::Tensor& z) {
  const at::Tensor shares = modality_shares(parameter("semantic.logits"), modality_sets_);
  at::Tensor sum;
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    const at::Tensor part =
        times_table(weighted_sum(*modalities_[m].semantic.graph, z, shard_->threads), semantic_set_,
                    dense_.table(shares.select(1, static_cast<std::int64_t>(m))),
                    shard_->summand_rows, shard_->threads);
    sum = m == 0 ? part : sum + part;
  }
  return sum;
}

at::Tensor Model::graph_rows(const at::Tensor& e, const std::vector<std::int32_t>* rows) {
  const bool before = config_.has_semantic() && config_.semantic == SemanticPlace::before;
  const bool after = config_.has_semantic() && config_.semantic == SemanticPlace::after;
  const at::Tensor refined = before ? e + semantic_sum(e) : e;
  at::Tensor z = propagate(*shard_->graph, refined, shard_->inverse_sqrt_degree, config_.layers,
                           rows, shard_->threads);
  if (after) {
    const at::Tensor sum = semantic_sum(e);
    z = z + (rows != nullptr ? take_rows(sum, *rows, shard_->threads) : sum);
  }
  return z;
}

// Of every modality the coefficient of each set of modalities: scale * c^m.
std::vector<at::Tensor> Model::content_tables() {
  const at::Tensor coefficients =
      modality_shares(parameter("content.logits"), modality_sets_) * parameter("content.scale");
  std::vector<at::Tensor> tables;
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    tables.push_back(dense_.table(coefficients.select(1, static_cast<std::int64_t>(m))));
  }
  return tables;
}

// Without gradient. Rows are taken in blocks, as there is a projection for each modality.
at::Tensor Model::content_of(const std::vector<at::Tensor>& sums,
                             const std::vector<at::Tensor>& counts) {
  constexpr std::int64_t kBlock = 1 << 16;
  const std::int64_t rows = sums.front().size(0);
  const at::Tensor sets = modality_sets(counts);
  const std::vector<at::Tensor> tables = content_tables();
  at::Tensor content = at::empty({rows, width_}, sums.front().options());
  for (std::int64_t begin = 0; begin < rows; begin += kBlock) {
    const std::int64_t end = std::min(rows, begin + kBlock);
    std::vector<at::Tensor> projections;
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      projections.push_back(row_product(sums[m].slice(0, begin, end),
                                        parameter("content.projection." + config_.modalities[m]),
                                        shard_->threads));
    }
    content.slice(0, begin, end)
        .copy_(content_rows(at::stack(projections), sets.slice(0, begin, end), tables,
                            RowGroups{end - begin, 1, nullptr}, sums_, shard_->threads));
  }
  return content;
}

at::Tensor Model::contrastive_loss(const at::Tensor& z, const RowSet& rows,
                                   const ContrastiveBatch& part) {
  const auto rows_of = [&](const std::vector<std::int32_t>& owned) {
    std::vector<std::int32_t> positions;
    for (const std::int32_t row : owned) {
      positions.push_back(static_cast<std::int32_t>(rows.position(row)));
    }
    return take_rows(z, positions, shard_->threads);
  };
  at::Tensor first = rows_of(part.first_rows);
  at::Tensor second = rows_of(part.second_rows);
  if (shard_->columns != nullptr) {
    // Logits need whole rows: every rank of the row part takes those of some of its people.
    std::vector<std::int32_t> part_of_person;
    for (const std::int32_t row : part.first_rows) {
      part_of_person.push_back(
          shard_->grid.column_part(shard_->whole.owner[value(shard_->owned()[row])]));
    }
    const ColumnExchange exchange(part_of_person, shard_->columns);
    first = exchange.to_whole("contrastive.columns", first);
    second = exchange.to_whole("contrastive.columns", second);
  }
  return contrastive_share(first, second, part.rows_per_rank, part.positions, config_.temperature,
                           *shard_->world, shard_->threads) *
         config_.contrastive_weight;
}

StepShare Model::loss(const TripleBatch& batch, std::int64_t batch_rows, StepTime time) {
  const Shard& shard = *shard_;
  const int threads = shard.threads;
  const std::int64_t n = batch.size();
  const bool content = config_.has_content();
  const bool self = config_.inductive() && config_.self_weight > 0;
  dense_ = DenseInputs(shard.summands(), width_);

  // Who needs which rows.
  std::vector<GlobalNode> needed = batch.positive;
  needed.insert(needed.end(), batch.negative.begin(), batch.negative.end());
  std::vector<std::int64_t> order;  // of the gradients: all positives, then all negatives
  if (shard.reproducible) {
    constexpr std::int64_t kNegatives = std::int64_t{1} << 62;
    order = batch.position;
    for (const std::int64_t position : batch.position) order.push_back(kNegatives + position);
  }
  const RowExchange exchange(shard.ownership, shard.owned(), needed, *shard.communicator,
                             shard.reproducible ? &order : nullptr);
  std::vector<std::int32_t> user_rows(n);
  for (std::int64_t t = 0; t < n; ++t) user_rows[t] = shard.row_of[value(batch.user[t])];
  std::vector<ContrastiveBatch> people;
  if (config_.contrastive_weight > 0) {
    for (const OverlapPair& pair : overlaps_) {
      people.push_back(choose_people(pair, shard, config_.contrastive_batch, seed_, time.step));
    }
  }
  std::vector<std::int32_t> wanted = exchange.requested_rows();
  wanted.insert(wanted.end(), user_rows.begin(), user_rows.end());
  for (const ContrastiveBatch& part : people) {
    wanted.insert(wanted.end(), part.first_rows.begin(), part.first_rows.end());
    wanted.insert(wanted.end(), part.second_rows.begin(), part.second_rows.end());
  }
  const RowSet row_set(shard.owned_rows(), wanted);
  const std::vector<std::int32_t> rows = row_set.members();
  const auto positions_of = [&](std::vector<std::int32_t> of_rows) {
    for (std::int32_t& row : of_rows) row = static_cast<std::int32_t>(row_set.position(row));
    return of_rows;
  };
  const std::vector<std::int32_t> item_positions = positions_of(exchange.requested_rows());
  const std::vector<std::int32_t> user_positions = positions_of(user_rows);
  const auto groups_of = [&](const std::vector<std::int32_t>& of_rows, int repeats) {
    std::vector<std::int32_t> summands;
    for (const std::int32_t row : of_rows) summands.push_back(shard.summand_of_row[row]);
    return group_rows(summands, shard.summands(), repeats);
  };
  const RowGroups triple_groups = groups_of(user_rows, 1);

  if (time.parts != nullptr) time.parts->begin(StepPart::forward);

  // Graph rows z of those nodes.
  const auto dropout = static_cast<float>(config_.dropout);
  const std::uint32_t dropout_seed =
      Random(seed_, Purpose::template_dropout, static_cast<std::uint32_t>(time.step)).bits(0)[0];
  const at::Tensor e = base_rows(time.epoch, dropout, dropout_seed);
  at::Tensor z;  // (rows, width)
  if (config_.cold_simulation > 0) {
    const Random random(seed_, Purpose::cold_simulation, static_cast<std::uint32_t>(time.step));
    std::vector<float> cold(shard.owned_rows());
    for (std::int64_t row = 0; row < shard.owned_rows(); ++row) {
      cold[row] = random.uniform(value(shard.owned()[row])) < config_.cold_simulation ? 1 : 0;
    }
    const at::Tensor share = upload(cold, shard.device).unsqueeze(1) * has_semantic_;
    const at::Tensor all = graph_rows(e, nullptr);
    z = take_rows(all + share * (semantic_mean(all) - all), rows, threads);
  } else {
    z = graph_rows(e, &rows);
  }

  // What the batch needs of its items, in one exchange: z, projected features, template rows,
  // flags.
  std::vector<at::Tensor> parts = {take_rows(z, item_positions, threads)};
  at::Tensor requested, users;  // (n) int32 owned rows, where something but z is read of them
  if (content || self) {
    requested = upload(exchange.requested_rows(), shard.device);
    users = upload(user_rows, shard.device);
  }
  at::Tensor templates;  // (rows, width) template rows
  if (content) {
    const RowGroups groups = groups_of(exchange.requested_rows(), 1);
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      parts.push_back(grouped_row_product(modalities_[m].content.sum.index_select(0, requested),
                                          dense("content.projection." + config_.modalities[m]),
                                          groups, threads));
    }
    for (const Modality& modality : modalities_) {
      parts.push_back(modality.content.count.index_select(0, requested));
    }
  }
  if (self) {
    templates = take_rows(parameter("embedding"), rows, threads);
    parts.push_back(take_rows(templates, item_positions, threads));
    parts.push_back(template_local_.index_select(0, requested).unsqueeze(1));
  }
  std::vector<std::int64_t> widths;
  for (const at::Tensor& part : parts) widths.push_back(part.size(1));
  const std::vector<at::Tensor> fetched =
      at::split_with_sizes(fetch(exchange, "batch.items", at::cat(parts, 1), threads), widths, 1);
  std::size_t next = 0;
  const auto next_part = [&] { return fetched[next++]; };  // (2n, ...): positives, then negatives

  // From here on a block of rows for the users of the triples, one for the positives and one for
  // the negatives.
  at::Tensor final_rows =
      at::cat({take_rows(z, user_positions, threads), next_part()});  // (3n, width)
  if (content) {
    std::vector<at::Tensor> projections, counts;
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      const at::Tensor items = next_part();
      // The positive item is left out of the user's sum, else the term learns to recognise it.
      projections.push_back(
          grouped_row_product(modalities_[m].content.sum.index_select(0, users),
                              dense("content.projection." + config_.modalities[m]), triple_groups,
                              threads) -
          items.slice(0, 0, n));
      projections.push_back(items);
    }
    for (const Modality& modality : modalities_) {
      const at::Tensor items = next_part().detach();
      counts.push_back(
          at::cat({modality.content.count.index_select(0, users) - items.slice(0, 0, n), items}));
    }
    const auto modalities = static_cast<std::int64_t>(modalities_.size());
    final_rows = final_rows + content_rows(at::cat(projections).view({modalities, 3 * n, width_}),
                                           modality_sets(counts), content_tables(),
                                           groups_of(user_rows, 3), sums_, threads);
  }

  // Each triple counts 1 / (triples of all ranks), times its domain's weight.
  std::vector<double> weights(n);
  for (std::int64_t t = 0; t < n; ++t) {
    weights[t] =
        batch.weight[t] * domain_weight_[batch.domain[t]] / static_cast<double>(batch_rows);
  }
  const at::Tensor weight = upload(weights, shard.device);
  std::vector<std::pair<int, int>> pairs = {{0, 1}, {0, 2}};
  if (config_.l2 > 0) pairs.insert(pairs.end(), {{0, 0}, {1, 1}, {2, 2}});
  StepShare share;
  TripleSums sums;
  share.total = triple_loss(block_dots("step.scores", final_rows, 3, pairs, sums_, threads), weight,
                            config_.l2, triple_groups, sums);
  share.of_summands = at::zeros({shard.summands(), 3}, at::kDouble);
  auto of_summands = share.of_summands.accessor<double, 2>();
  for (std::int64_t summand = 0; summand < shard.summands(); ++summand) {
    of_summands[summand][0] = sums.ranking[summand];
    of_summands[summand][1] = sums.squares[summand] * config_.l2;
  }
  if (self) {
    const at::Tensor items = next_part();
    const at::Tensor is_template = next_part().detach().squeeze(1);
    const at::Tensor pair_weight = weight * template_local_.index_select(0, users) *
                                   is_template.slice(0, 0, n) * is_template.slice(0, n, 2 * n) *
                                   config_.self_weight;
    const at::Tensor user = times_table(take_rows(templates, user_positions, threads),
                                        at::zeros({n}, users.options().dtype(at::kInt)),
                                        dense("self_weight"), triple_groups, threads);
    const at::Tensor scores =
        block_dots("step.self_scores", at::cat({user, items}), 3, {{0, 1}, {0, 2}}, sums_, threads);
    share.total = share.total + triple_loss(scores, pair_weight, 0, triple_groups, sums);
    for (std::int64_t summand = 0; summand < shard.summands(); ++summand) {
      of_summands[summand][2] = sums.ranking[summand];
    }
  }
  for (const ContrastiveBatch& part : people) {
    const at::Tensor term = contrastive_loss(z, row_set, part);
    share.contrastive += term.item<double>();
    share.total = share.total + term;
  }
  return share;
}

StepLoss Model::backward(const StepShare& share, at::Tensor& votes) {
  run_backward({share.total}, {{}});
  const c10::NoGradGuard no_gradient;
  DenseInputs::Extra extra;
  extra.of_groups = share.of_summands;
  extra.of_ranks = at::cat({at::full({1}, share.contrastive, votes.options()), votes});
  dense_.finish(*shard_, sums_, extra);
  votes.copy_(extra.of_ranks.slice(0, 1));
  return {extra.of_groups[0].item<double>(), extra.of_groups[1].item<double>(),
          extra.of_groups[2].item<double>(), extra.of_ranks[0].item<double>()};
}

// Plain tables have no row for a node that training did not see; like INMO's paper, it gets the
// mean of the old rows of its kind. The mean is summed in fixed point, so that its bits do not
// depend on how rows are shared out.
at::Tensor Model::means_of_old() const {
  constexpr double kUnit = 4294967296.0;  // 2^32
  const at::Tensor old = (shard_->training_degree > 0).to(at::kLong);
  const at::Tensor fixed = (parameter("embedding").to(at::kDouble) * kUnit).round().to(at::kLong);
  const at::Tensor kind = shard_->kind.to(at::kLong);
  at::Tensor sums = at::zeros({kind.size(1), width_ + 1}, kind.options());
  for (std::int64_t column = 0; column < kind.size(1); ++column) {
    const at::Tensor chosen = old * kind.select(1, column);
    sums[column].slice(0, 0, width_).copy_((fixed * chosen.unsqueeze(1)).sum(0));
    sums[column][width_] = chosen.sum();
  }
  shard_->communicator->all_reduce("means_of_old", sums);
  const at::Tensor count = sums.slice(1, width_, width_ + 1).clamp_min(1);
  return (sums.slice(1, 0, width_).to(at::kDouble) / (count.to(at::kDouble) * kUnit))
      .to(at::kFloat);
}

// Rows of every owned node before the graph part, without gradient and dropout.
at::Tensor Model::inferred_base_rows(std::int64_t epoch) {
  if (config_.inductive()) return base_rows(epoch, 0, 0);
  const at::Tensor mean = means_of_old().index_select(0, shard_->kind.argmax(1));
  return at::where((shard_->training_degree > 0).unsqueeze(1), parameter("embedding"), mean);
}

at::Tensor Model::embeddings(std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  at::Tensor z = graph_rows(inferred_base_rows(epoch), nullptr);
  if (config_.has_semantic()) {
    const at::Tensor lone =
        (shard_->degree.slice(0, 0, shard_->owned_rows()) == 0).to(at::kFloat).unsqueeze(1);
    const at::Tensor cold = lone * has_semantic_ > 0;
    z = at::where(cold, semantic_mean(z), z);
  }
  if (config_.has_content()) {
    std::vector<at::Tensor> sums, counts;
    for (const Modality& modality : modalities_) {
      sums.push_back(modality.content.sum);
      counts.push_back(modality.content.count);
    }
    z = z + content_of(sums, counts);
  }
  z = shard_->columns_of_rows->to_whole("embeddings.whole", z.contiguous()).cpu();
  if (z.is_alias_of(parameter("embedding"))) z = z.clone();  // without layers and all else
  if (ridge_fitted_.item<std::uint8_t>() != 0) apply_ridge_maps(ridge_, *shard_, z);
  return z;
}

at::Tensor Model::to_whole(const at::Tensor& value, bool sharded, bool by_columns) const {
  const c10::NoGradGuard no_gradient;
  if (sharded) return shard_->columns_of_rows->to_whole("state.whole", value.detach());
  return by_columns ? gather_columns(shard_->columns, "state.columns", value.detach())
                    : value.detach();
}

at::Tensor Model::empty_whole(const at::Tensor& value, bool sharded, bool by_columns) const {
  if (shard_->columns == nullptr || (!sharded && !by_columns)) return value.detach();
  std::vector<std::int64_t> shape = value.sizes().vec();
  if (sharded) shape.front() = static_cast<std::int64_t>(shard_->whole_nodes.size());
  if (by_columns) shape.back() = config_.dim;
  return at::empty(shape, value.options().requires_grad(false));
}

void Model::from_whole(const at::Tensor& whole, bool sharded, bool by_columns,
                       at::Tensor value) const {
  if (shard_->columns == nullptr || (!sharded && !by_columns)) return;
  const c10::NoGradGuard no_gradient;
  value.copy_(sharded ? shard_->columns_of_rows->to_columns("state.columns", whole)
                      : whole.slice(-1, columns_.begin, columns_.end));
}

void Model::fit_ridge(const at::Tensor& z) {
  const c10::NoGradGuard no_gradient;
  fit_ridge_maps(ridge_, overlaps_, *shard_, z);
  ridge_fitted_.fill_(1);
}

at::Tensor Model::new_user_embeddings(int domain,
                                      const std::vector<std::vector<std::int32_t>>& history,
                                      std::int64_t epoch) {
  const c10::NoGradGuard no_gradient;
  CHECK_EQ(shard_->world->size(), 1) << "new users are inferred on one rank";
  Pattern pattern;
  for (const std::vector<std::int32_t>& items : history) {
    for (const std::int32_t item : items) {
      pattern.columns.push_back(shard_->row_of[value(shard_->space().item(domain, item))]);
    }
    pattern.offsets.push_back(static_cast<std::int64_t>(pattern.columns.size()));
  }
  const int threads = shard_->threads;
  const auto users = static_cast<std::int64_t>(history.size());
  at::Tensor e;  // (users, dim)
  if (config_.inductive()) {
    const at::Tensor count =
        neighbour_sum(pattern, template_local_.unsqueeze(1), {}, threads).squeeze(1);
    const double annealing = std::pow(config_.annealing, static_cast<double>(epoch));
    const at::Tensor scale =
        template_scale(count.cpu().contiguous(), annealing, threads).to(shard_->device);
    SumOptions options;
    options.scaling = {scale, template_local_};
    e = neighbour_sum(pattern, parameter("embedding"), options, threads);
    const at::Tensor kind = at::zeros({users, shard_->kind.size(1)}, shard_->kind.options());
    kind.select(1, domain).copy_(scale);
    e = e + row_product(kind, parameter("tokens"), threads);
  } else {
    e = means_of_old()[domain].unsqueeze(0).repeat({users, 1});
  }
  at::Tensor z = e;
  if (config_.layers > 0) {
    const bool before = config_.has_semantic() && config_.semantic == SemanticPlace::before;
    const at::Tensor old_rows = inferred_base_rows(epoch);
    const at::Tensor refined = before ? old_rows + semantic_sum(old_rows) : old_rows;
    const at::Tensor read = propagate_before_last(
        *shard_->graph, refined, shard_->inverse_sqrt_degree, config_.layers, threads);
    std::vector<float> degree(users);
    for (std::int64_t user = 0; user < users; ++user) {
      degree[user] = static_cast<float>(pattern.degree(user));
    }
    SumOptions options;
    options.scaling = {inverse_sqrt(upload(degree, shard_->device)), shard_->inverse_sqrt_degree};
    options.horner.addend = e;
    options.horner.factor = 1.0F / static_cast<float>(config_.layers + 1);
    z = neighbour_sum(pattern, read, options, threads);
  }
  if (config_.has_content()) {
    std::vector<at::Tensor> sums, counts;
    for (const Modality& modality : modalities_) {
      sums.push_back(neighbour_sum(pattern, modality.content.sum, {}, threads));
      counts.push_back(neighbour_sum(pattern, modality.content.count, {}, threads));
    }
    z = z + content_of(sums, counts);
  }
  return z.cpu();
}

std::optional<at::Tensor> Model::map_to_domain(const at::Tensor& z, int from, int to) const {
  if (ridge_fitted_.item<std::uint8_t>() == 0) return std::nullopt;
  for (const RidgeMap& map : ridge_) {
    if (map.from != from || map.to != to) continue;
    return row_product(z, map.map.slice(0, 0, config_.dim).contiguous(), shard_->threads) +
           map.map[config_.dim];
  }
  return std::nullopt;
}

}  // namespace micrec
