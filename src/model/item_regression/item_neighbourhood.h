#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/item_regression/training_histories.h"

namespace micrec {

/// Items that one item's coefficients are for, at most ItemSystems::kMostNeighbours.
struct ItemNeighbourhood {
  std::vector<std::int32_t> items;  // numbered over all domains, rising
  std::vector<float> together;  // (items) product of their columns with the item's, not yet crossed
};

/// How a domain's items choose.
struct NeighbourhoodRule {
  Range items{0, 0};   ///< the domain's, numbered over all domains
  double cross = 0.6;  ///< weight of other domains' items; 0 leaves them out
  double lambda = 150;
};

inline constexpr int kMostByFeatures = 30;

/// Chooses the neighbourhoods of some items: those j with the largest c x_j'x_i / sqrt(c^2 |x_j|^2
/// + lambda) over the people's columns x, where c is 1 for items of the domain and `cross` for
/// others, and besides them those with the most similar features, which leave the more room the
/// fewer they are. The quota of each matters: the 100 largest of a sum of both rank worse.
///
/// Shapes   people[n]: who met the n-th of the items; `people_fetched`: whose histories there are,
///          rising; similar[n]: the nearest by features.
/// Ranks    local.
std::vector<ItemNeighbourhood> choose_neighbourhoods(
    const NeighbourhoodRule& rule, std::span<const std::int32_t> items,
    const std::vector<std::span<const std::int32_t>>& people,
    std::span<const std::int32_t> people_fetched, const NumberLists& histories,
    const TrainingHistories& training, const std::vector<std::span<const std::int32_t>>& similar);

}  // namespace micrec
