#pragma once

#include <cstdint>
#include <vector>

#include "model/item_hubs.h"
#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"
#include "partition/planning/step_costs.h"

namespace micrec {

/// What the costs of a fit of item regression depend on.
struct ItemRegressionShape {
  const NodeSpace& space;
  const People& people;
  const Adjacency& graph;                   ///< training interactions
  const Ownership& whole;                   ///< as Layout::whole
  std::vector<std::int64_t> feature_width;  ///< of each modality, as stored
  bool crosses = true;                      ///< items of other domains are neighbours too
  std::uint64_t seed = 0;
  HubRule hubs;
};

/// What every rank sends and does to make an ItemRegressionFit, to solve for all items with one
/// setting and to count the coefficients.
///
/// Bytes are exact, but for three that depend on who becomes a neighbour or on which products are
/// zero: item_regression.columns, item_regression.features with its question batch.plan, and
/// item_regression.hub_products; these are the most that can be. The search of the nearest by
/// features (neighbours.*) and the choice of settings, which solves for a sample, are not in it.
/// What is done is estimated, for neighbours drawn as interactions are.
///
/// Shapes   returns (ranks). Ranks: local.
/// Cost     a few passes over the interactions and, of each batch, over the histories of its people.
std::vector<StepCosts> costs_of_item_regression(const ItemRegressionShape& shape);

}  // namespace micrec
