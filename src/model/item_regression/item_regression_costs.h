#pragma once

#include <cstdint>
#include <vector>

#include "graph/neighbour_search.h"
#include "model/item_regression/item_hubs.h"
#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"
#include "partition/planning/step_costs.h"

namespace micrec {

/// A call of ItemRegressionFit::solve().
struct ItemRegressionSolve {
  bool crosses = true;          ///< items of other domains are neighbours too
  int settings = 1;             ///< that are solved for
  std::int64_t most_items = 0;  ///< as ItemRegressionTask
};

/// What the costs of a fit of item regression depend on.
struct ItemRegressionShape {
  const NodeSpace& space;
  const People& people;
  const Adjacency& graph;                   ///< training interactions
  const Ownership& whole;                   ///< as Layout::whole
  std::vector<std::int64_t> feature_width;  ///< of each modality, as stored
  std::vector<std::uint8_t> has_features;   ///< (items of all domains) of any modality
  NeighbourSearch search = NeighbourSearch::automatic;
  std::vector<ItemRegressionSolve> solves = {ItemRegressionSolve()};  ///< one after the other
  std::uint64_t seed = 0;
  HubRule hubs;
};

/// What every rank sends and does to make an ItemRegressionFit, to solve as the shape says and to
/// count the coefficients.
///
/// Bytes are exact, but for four that depend on who becomes a neighbour, on which products are zero
/// or on whether an approximate search is given up: item_regression.columns,
/// item_regression.features with its question batch.plan, item_regression.hub_products and
/// neighbours.found; these are the most that can be. What is done is estimated, for neighbours
/// drawn as interactions are; a GPU's share of it, features and systems, as the CPU's.
///
/// Shapes   returns (ranks). Ranks: local.
/// Cost     a few passes over the interactions and, of each batch, over the histories of its
///          people.
std::vector<StepCosts> costs_of_item_regression(const ItemRegressionShape& shape);

}  // namespace micrec
