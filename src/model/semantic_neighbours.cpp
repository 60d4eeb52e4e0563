#include "model/semantic_neighbours.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"
#include "graph/operators.h"
#include "model/modality.h"
#include "model/step/row_functions.h"

namespace micrec {
namespace {

/// Of each modality a coefficient for every set of modalities.
double coefficients_of(int modalities) {
  return static_cast<double>(modalities * (std::int64_t{1} << modalities));
}

}  // namespace

NeighbourQuestion semantic_question(const DatasetFile& dataset, const DatasetSummary& summary,
                                    const Ownership& ownership, int domain,
                                    const std::string& modality, int neighbours) {
  const DomainInfo& info = dataset.domains()[domain];
  NeighbourQuestion question{
      {info.items, modality_width(dataset, modality),
       [&dataset, domain, modality](std::int64_t begin, std::int64_t end, float* rows) {
         dataset.read_features(domain, modality, begin, end, rows);
       }},
      std::vector<std::uint8_t>(info.items, 0),
      std::vector<std::int32_t>(info.items, -1),
      neighbours};
  if (!has_modality(info, modality)) return question;
  const std::vector<std::uint8_t> present = dataset.features_present(domain, modality);
  for (std::int64_t item = 0; item < info.items; ++item) {
    if (present[item] == 0) continue;
    const std::int32_t node = value(summary.space.item(domain, item));
    question.eligible[item] = summary.training_degree[node] > 0;
    question.asked_by[item] = ownership.owner[node];
  }
  return question;
}

std::vector<std::int32_t> owned_items(const Shard& shard) {
  std::vector<std::int32_t> items;
  for (const GlobalNode node : shard.owned()) {
    if (shard.space().is_user(node)) continue;
    items.push_back(static_cast<std::int32_t>(value(node) - shard.space().users()));
  }
  return items;
}

SemanticLists find_semantic_neighbours(const DatasetFile& dataset, const Shard& shard,
                                       const std::string& modality, const ModelConfig& config,
                                       const KnownNeighbours* known) {
  const NodeSpace& space = shard.space();
  const auto is_searched = [&](std::int32_t item) {
    return known == nullptr || known->is_new[item] != 0;
  };
  SemanticLists lists;
  std::vector<std::int32_t> found;  // of one item
  std::int64_t place = 0;           // of the next item among the owned
  for (int domain = 0; domain < space.domains(); ++domain) {
    NeighbourQuestion question = semantic_question(dataset, *shard.summary, shard.ownership, domain,
                                                   modality, config.semantic_neighbors);
    const auto first = static_cast<std::int32_t>(value(space.item(domain, 0)) - space.users());
    for (std::int32_t item = 0; item < question.source.items; ++item) {
      if (!is_searched(first + item)) question.asked_by[item] = -1;
    }
    NumberLists nearest;
    if (std::ranges::any_of(question.asked_by, [](std::int32_t rank) { return rank >= 0; })) {
      nearest = find_neighbours(question, {.search = config.neighbor_search}, shard.communicator,
                                &lists.searches.emplace_back());
    }
    // Items of a domain are consecutive nodes and domains come in order.
    std::int64_t query = 0;
    for (std::int32_t item = 0; item < question.source.items; ++item) {
      if (shard.row_of[value(space.item(domain, item))] < 0) continue;
      found.clear();
      if (question.asked_by[item] >= 0) {
        for (const std::int32_t near : nearest.of(query++)) found.push_back(first + near);
      } else if (!is_searched(first + item)) {
        const std::span<const std::int32_t> of_item = known->near.of(place);
        found.assign(of_item.begin(), of_item.end());
      }
      lists.near.add(found);
      ++place;
    }
  }
  return lists;
}

NeighbourMean mean_of_neighbours(const NumberLists& near, const Shard& shard) {
  const std::int64_t users = shard.space().users();
  Lists<GlobalNode> rows;
  rows.offsets.resize(shard.owned_rows() + 1, 0);
  std::vector<float> weights;
  NeighbourMean mean;
  mean.present = at::zeros({shard.owned_rows(), 1}, at::kFloat);
  float* const present_rows = mean.present.data_ptr<float>();
  // Owned rows and items rise together.
  const std::vector<std::int32_t> items = owned_items(shard);
  for (std::size_t n = 0; n < items.size(); ++n) {
    const std::span<const std::int32_t> found = near.of(static_cast<std::int64_t>(n));
    if (found.empty()) continue;
    const std::int32_t row = shard.row_of[users + items[n]];
    rows.offsets[row + 1] = std::ssize(found);
    present_rows[row] = 1;
    for (const std::int32_t item : found)
      rows.values.push_back(GlobalNode{static_cast<std::int32_t>(users + item)});
    weights.insert(weights.end(), found.size(), 1.0F / static_cast<float>(found.size()));
  }
  std::partial_sum(rows.offsets.begin(), rows.offsets.end(), rows.offsets.begin());
  mean.graph = std::make_unique<WeightedGraph>(shard.ownership, rows, weights, *shard.communicator);
  return mean;
}

SemanticNeighbours::SemanticNeighbours(const PartInputs& inputs)
    : config_(inputs.config), shard_(inputs.shard) {
  if (!config_.has_semantic()) return;
  CHECK_EQ(inputs.semantic.size(), config_.modalities.size());
  for (std::size_t m = 0; m < config_.modalities.size(); ++m) {
    const std::string& name = config_.modalities[m];
    const SemanticLists& lists = inputs.semantic[m];
    modalities_.push_back(mean_of_neighbours(lists.near, shard_));
    for (const NeighbourSearchReport& search : lists.searches) {
      searches_.push_back({"semantic neighbours by " + name, search});
    }
    const at::Tensor& present = modalities_.back().present;
    has_any_ = has_any_.defined() ? at::maximum(has_any_, present) : present;
  }
  const auto count = static_cast<std::int64_t>(modalities_.size());
  every_set_ = every_modality_set(count).to(shard_.device);
  number_sets();
  for (NeighbourMean& modality : modalities_) modality.graph->move_to(shard_.device);
  has_any_ = has_any_.to(shard_.device);
  gate_ = inputs.state.add_parameter("semantic.gate", at::ones({shard_.space().domains()}),
                                     shard_.device, Placement::everywhere, "g of each domain");
  logits_ = inputs.state.add_parameter("semantic.logits", at::zeros({count}), shard_.device,
                                       Placement::everywhere, "shares of the modalities");
}

void SemanticNeighbours::number_sets() {
  std::vector<at::Tensor> present;
  for (const NeighbourMean& modality : modalities_) present.push_back(modality.present);
  const at::Tensor sets = modality_sets(present);
  const std::int64_t sets_of_domain = std::int64_t{1} << modalities_.size();
  // Users are in no domain of items; they have no neighbours either.
  const at::Tensor domain = shard_.item_domain.cpu().argmax(1).to(at::kInt);
  const at::Tensor none = at::full_like(sets, -1);
  set_ = at::where(sets > 0, sets, none).to(shard_.device);
  set_of_domain_ = at::where(sets > 0, sets + domain * sets_of_domain, none).to(shard_.device);
}

// sum_m t^m S^m x, with the entry of the table t^m that `entries` names for a row.
at::Tensor SemanticNeighbours::combined(StepContext& context, const at::Tensor& x,
                                        const at::Tensor& entries,
                                        const std::vector<at::Tensor>& tables) {
  at::Tensor sum;
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    const at::Tensor part = times_table(weighted_sum(*modalities_[m].graph, x), entries,
                                        context.dense.table(tables[m]), shard_.summand_rows);
    sum = m == 0 ? part : sum + part;
  }
  return sum;
}

at::Tensor SemanticNeighbours::sum(StepContext& context, const at::Tensor& e) {
  return combined(context, e, set_of_domain_,
                  modality_tables(logits_->value, every_set_, gate_->value.unsqueeze(1)));
}

at::Tensor SemanticNeighbours::mean(StepContext& context, const at::Tensor& z) {
  return combined(context, z, set_, modality_tables(logits_->value, every_set_));
}

void SemanticNeighbours::plan_cold(StepContext& step) const {
  const Random random(step.seed, Purpose::cold_simulation,
                      static_cast<std::uint32_t>(step.time.step));
  std::vector<float> cold(shard_.owned_rows());
  parallel_for(shard_.owned_rows(), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      cold[row] = random.uniform(value(shard_.owned()[row])) < config_.cold_simulation ? 1 : 0;
    }
  });
  step.cold_items = step.plan(std::move(cold));
}

at::Tensor SemanticNeighbours::simulate_cold(StepContext& step, const at::Tensor& z) {
  const at::Tensor share = step.planned(step.cold_items).unsqueeze(1) * has_any_;
  return z + share * (mean(step, z) - z);
}

at::Tensor SemanticNeighbours::fill_cold(StepContext& context, const at::Tensor& z) {
  const at::Tensor lone =
      (shard_.degree.slice(0, 0, shard_.owned_rows()) == 0).to(at::kFloat).unsqueeze(1);
  return at::where(lone * has_any_ > 0, mean(context, z), z);
}

std::vector<SemanticHalo> SemanticNeighbours::halos() const {
  std::vector<SemanticHalo> halos;
  for (const NeighbourMean& modality : modalities_) {
    const HaloPlan& forward = modality.graph->graph().halo_plan();
    const HaloPlan& backward = modality.graph->transpose().halo_plan();
    const std::array<std::int64_t, 4> own = {
        std::ssize(forward.send_local_rows), forward.halo_rows(),
        std::ssize(backward.send_local_rows), backward.halo_rows()};
    SemanticHalo halo;
    for (const auto& of : gather_values(*shard_.communicator, "plan.semantic", own)) {
      halo.forward.sent.push_back(of[0]);
      halo.forward.received.push_back(of[1]);
      halo.backward.sent.push_back(of[2]);
      halo.backward.received.push_back(of[3]);
    }
    halos.push_back(std::move(halo));
  }
  return halos;
}

void SemanticNeighbours::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  const int modalities = shape.semantic_modalities();
  if (modalities == 0) return;
  const int calls = shape.simulates_cold() ? 2 : 1;  // of a modality, each way
  double received = 0;
  double sent = 0;
  for (const SemanticHalo& halo : at.of.semantic) {
    const auto bytes = [&](const HaloCounts& counts) {
      return calls * static_cast<double>(counts.sent[at.row]) * at.row_bytes();
    };
    costs.exchange("halo.weighted", Group::rows, calls, bytes(halo.forward));
    costs.exchange("halo.weighted.backward", Group::rows, calls, bytes(halo.backward));
    for (const HaloCounts* counts : {&halo.forward, &halo.backward}) {
      received = std::max(received, static_cast<double>(counts->received[at.row]));
      sent = std::max(sent, static_cast<double>(counts->sent[at.row]));
    }
  }
  DenseInputs::declare_table(
      at, coefficients_of(modalities) * (shape.domains + (shape.simulates_cold() ? 1 : 0)), costs);
  // Of the neighbours and their transpose item and weight, and where a row begins.
  const double nonzeros = at.items() * shape.config.semantic_neighbors;
  costs.memory(MemoryKind::graph, 2.0 * modalities * (nonzeros * 2 * kNodeBytes + at.rows() * 8));
  // While they are searched for, a domain and a modality at a time, beside what was found before.
  const double lists = at.items() * shape.config.semantic_neighbors * kNodeBytes;
  for (const std::int64_t width : at.of.dataset.feature_width) {
    for (const std::int64_t items : at.of.dataset.items_of_domain) {
      costs.memory_in_turn(
          MemoryKind::loading,
          modalities * lists + most_search_bytes({.search = shape.config.neighbor_search,
                                                  .eligible = static_cast<double>(items),
                                                  .asked = static_cast<double>(items),
                                                  .own = at.items(),
                                                  .width = static_cast<double>(width),
                                                  .k = shape.config.semantic_neighbors,
                                                  .ranks = at.grid.rows}));
    }
  }
  // The refined rows and each modality's sum, kept for the way back; rows before cold simulation.
  costs.memory(MemoryKind::activations,
               (1 + modalities + (shape.simulates_cold() ? 3 : 0)) * at.matrix_bytes());
  costs.memory_in_turn(MemoryKind::halo_buffers, at.row_bytes() * (2 * received + sent));
  costs.memory(MemoryKind::evaluation, 2 * at.matrix_bytes());
  const double products = modalities * calls;
  costs.neighbour_bytes(2 * products * nonzeros * at.nonzero_bytes());
  costs.copied_bytes((1.5 * products + (shape.simulates_cold() ? 4 : 0)) * at.matrix_bytes());
}

}  // namespace micrec
