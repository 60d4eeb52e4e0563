#include "model/item_regression/item_regression.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "graph/approximate_neighbours.h"
#include "kernels/count_ahead_block.h"
#include "model/item_regression/item_features.h"
#include "model/item_regression/item_hubs.h"
#include "model/item_regression/item_neighbourhood.h"
#include "model/item_regression/item_regression_fit.h"
#include "model/item_regression/item_systems.h"
#include "model/item_regression/item_systems_on_device.h"
#include "model/item_regression/recency.h"

namespace micrec {

ItemRegression::ItemRegression(const PartInputs& inputs)
    : is_on_(inputs.config.item_regression != ItemRegressionUse::off) {
  if (!is_on_) return;
  items_ = static_cast<std::int64_t>(whole_items(inputs.shard).size());
  mix_ = at::zeros({inputs.shard.space().domains(), 2}, at::kFloat);
  mix_.select(1, 0).fill_(inputs.config.item_regression == ItemRegressionUse::alone ? 0 : 1);
  inputs.state.add_buffer("item_regression.mix", mix_, Placement::everywhere,
                          "of each domain, whether the embeddings count, and the factor of item "
                          "regression beside them (domains, 2)");
}

void ItemRegression::set_coefficients(SparseRows coefficients) {
  CHECK_EQ(coefficients.rows(), items_);
  coefficients_ = std::move(coefficients);
}

void ItemRegression::set_half_life(std::vector<double> half_life) {
  CHECK_EQ(static_cast<std::int64_t>(half_life.size()), mix_.size(0));
  half_life_ = has_recency(half_life) ? std::move(half_life) : std::vector<double>();
}

std::vector<ScoreMix> ItemRegression::mixes() const {
  std::vector<ScoreMix> mixes;
  if (!is_on_) return mixes;
  const auto values = mix_.accessor<float, 2>();
  for (std::int64_t domain = 0; domain < mix_.size(0); ++domain) {
    mixes.push_back({.embeddings = values[domain][0] != 0, .regression = values[domain][1]});
  }
  return mixes;
}

void ItemRegression::set_mixes(std::span<const ScoreMix> mixes) {
  CHECK(is_on_);
  CHECK_EQ(static_cast<std::int64_t>(mixes.size()), mix_.size(0));
  auto values = mix_.accessor<float, 2>();
  for (std::int64_t domain = 0; domain < mix_.size(0); ++domain) {
    values[domain][0] = mixes[domain].embeddings ? 1 : 0;
    values[domain][1] = mixes[domain].regression;
  }
}

void ItemRegression::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  if (shape.config.item_regression == ItemRegressionUse::off) return;
  constexpr double kCoefficientBytes = kNodeBytes + kFloatBytes;
  const double coefficients = at.items() / at.grid.columns * ItemSystems::kMostNeighbours;
  costs.memory(MemoryKind::graph, coefficients * kCoefficientBytes);
  // While it is fitted: histories by person and by item, hubs with what every person met of them,
  // the features of its own items, and of a batch the same of all neighbours.
  double interactions = 0;
  for (const std::int64_t of_part : at.of.user_nonzeros) {
    interactions += static_cast<double>(of_part);
  }
  double all_items = 0;
  for (const std::int64_t of_domain : at.of.dataset.items_of_domain) {
    all_items += static_cast<double>(of_domain);
  }
  double bytes = 2 * kNodeBytes * at.nonzeros() +
                 ItemHubs::most_bytes(static_cast<double>(at.of.dataset.users), interactions);
  double columns = 0;
  for (const std::int64_t width : at.of.dataset.feature_width) {
    columns += static_cast<double>(std::min<std::int64_t>(width, ItemFeatures::kColumns));
  }
  bytes += kFloatBytes * columns * at.items() +
           ItemRegressionFit::most_feature_bytes(all_items, columns);
  if (columns > 0) {
    bytes += most_search_bytes({.search = shape.config.neighbor_search,
                                .eligible = all_items,
                                .asked = all_items,
                                .own = at.items(),
                                .width = columns,
                                .k = kMostByFeatures,
                                .ranks = at.grid.ranks()});
  }
  // A GPU solves systems in chunks.
  bytes += most_chunk_bytes(static_cast<double>(at.of.dataset.feature_width.size()), at.items());
  costs.memory_in_turn(MemoryKind::loading, bytes);
  // Where users are ranked: the coefficients of all items, by target and by source.
  double items = 0;
  for (const std::int64_t of_domain : at.of.dataset.items_of_domain) {
    items = std::max(items, static_cast<double>(of_domain));
  }
  costs.memory(MemoryKind::evaluation,
               2 * items * ItemSystems::kMostNeighbours * kCoefficientBytes);
  // A GPU sums over the histories of some users at a time.
  const double row_bytes = items * kFloatBytes;
  costs.memory(MemoryKind::evaluation,
               std::min(static_cast<double>(at.of.dataset.users) * row_bytes,
                        std::max(static_cast<double>(kRankSumsBytes), kRankUsers * row_bytes)));
}

}  // namespace micrec
