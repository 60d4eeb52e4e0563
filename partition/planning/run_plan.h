#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"
#include "partition/planning/byte_plan.h"
#include "partition/planning/grid_choice.h"
#include "partition/planning/memory_plan.h"
#include "partition/planning/step_costs.h"
#include "partition/planning/step_needs.h"
#include "partition/planning/time_plan.h"
#include "partition/process_grid.h"

namespace micrec {

/// The semantic neighbours of one modality, as far as they are known.
struct SemanticGraph {
  std::vector<std::uint8_t> present;    // (items) 1 where an item has the modality
  std::optional<Adjacency> neighbours;  ///< of every item; without it they are estimated
};

/// Everything a plan depends on but the ranks.
struct PlanInputs {
  NodeSpace space;
  People people;
  Adjacency graph;                      ///< training interactions
  std::vector<std::uint8_t> eligible;   // (items) 1 where an item may be a negative
  std::vector<SemanticGraph> semantic;  // (shape.semantic_modalities)
  StepShape shape;
  DatasetShape dataset;
};

/// Heaviest over mean, 1 where all are equal.
struct Balance {
  double nonzeros = 1;
  double rows = 1;
  double memory = 1;
};

/// What ranks send, and how long each takes.
struct RankCosts {
  BytePlan bytes;                 // (ranks)
  std::vector<StepSeconds> time;  // (ranks)

  int slowest_rank() const;
};

/// What a run on one grid with one assignment would do.
struct GridPlan : RankCosts {
  ProcessGrid grid;
  std::vector<RankLoad> loads;     // (row parts)
  StepNeeds needs;                 // (row parts)
  std::vector<RankMemory> memory;  // (ranks)
  Balance balance;

  int fullest_rank() const;  ///< the rank with most memory
  GridCost cost() const;
};

/// `rows`: owners for grid.rows parts; `rates`: the machine's.
/// Ranks    local; a pure function.
/// Cost     a few passes over the nonzeros, whatever the number of ranks.
GridPlan plan_grid(const PlanInputs& inputs, const Ownership& rows, ProcessGrid grid,
                   const MachineRates& rates);

}  // namespace micrec
