#pragma once

#include <functional>
#include <string>
#include <vector>

#include "partition/process_grid.h"

namespace micrec {

/// What a grid would cost, as plan_run() computes it.
struct GridCost {
  ProcessGrid grid;
  double step_seconds = 0;       ///< predicted, of the slowest rank
  double most_memory_bytes = 0;  ///< of the fullest rank
  double most_bytes_a_step = 0;  ///< sent by the busiest rank
};

struct GridChoice {
  ProcessGrid grid;
  bool fits = true;             ///< its fullest rank has no more than the limit
  std::string reason;           ///< one sentence for people
  std::vector<GridCost> costs;  ///< of all grids looked at, by falling number of row parts
};

/// The grids that `ranks` ranks can form with column parts as parse_grid() allows them, by falling
/// number of row parts.
std::vector<ProcessGrid> possible_grids(int ranks, int dim);

/// The grid with the shortest predicted step among those that fit; of those within 2% of it the one
/// with most row parts. Where none fits, the one that needs least memory.
///
/// `memory_limit_bytes`: of each rank, 0 for none. `cost_of` is asked once for each grid.
GridChoice choose_grid(const std::vector<ProcessGrid>& grids, double memory_limit_bytes,
                       const std::function<GridCost(ProcessGrid)>& cost_of);

}  // namespace micrec
