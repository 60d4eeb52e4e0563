#include "partition/planning/grid_choice.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/text.h"

namespace micrec {
namespace {

// Predictions are not better than this, and row parts share out more kinds of memory.
constexpr double kSameTime = 1.02;

std::string bytes_of(const GridCost& cost) {
  return cost.most_bytes_a_step > 0 ? text(in_bytes(cost.most_bytes_a_step), " sent a step")
                                    : std::string("nothing sent");
}

}  // namespace

std::vector<ProcessGrid> possible_grids(int ranks, int dim) {
  CHECK_GE(ranks, 1);
  CHECK_GE(dim, 1);
  std::vector<ProcessGrid> grids;
  const int leaves = column_leaves(dim);
  for (int columns = 1; columns <= std::min(ranks, leaves); ++columns) {
    if (ranks % columns == 0 && leaves % columns == 0) grids.push_back({ranks / columns, columns});
  }
  return grids;
}

GridChoice choose_grid(const std::vector<ProcessGrid>& grids, double memory_limit_bytes,
                       const std::function<GridCost(ProcessGrid)>& cost_of) {
  CHECK(!grids.empty());
  GridChoice choice;
  for (const ProcessGrid grid : grids) choice.costs.push_back(cost_of(grid));
  std::vector<const GridCost*> fitting;
  for (const GridCost& cost : choice.costs) {
    if (memory_limit_bytes <= 0 || cost.most_memory_bytes <= memory_limit_bytes) {
      fitting.push_back(&cost);
    }
  }
  if (fitting.empty()) {
    const GridCost& smallest =
        *std::ranges::min_element(choice.costs, {}, &GridCost::most_memory_bytes);
    choice.grid = smallest.grid;
    choice.fits = false;
    choice.reason = text("no grid fits; ", to_text(smallest.grid), " needs least memory, ",
                         in_bytes(smallest.most_memory_bytes), " on its fullest rank");
    return choice;
  }
  const double shortest =
      (*std::ranges::min_element(fitting, {}, &GridCost::step_seconds))->step_seconds;
  const GridCost* chosen = nullptr;
  for (const GridCost* cost : fitting) {
    if (cost->step_seconds > kSameTime * shortest) continue;
    if (chosen == nullptr || cost->grid.rows > chosen->grid.rows) chosen = cost;
  }
  CHECK(chosen != nullptr) << "the shortest step is a number";
  choice.grid = chosen->grid;
  if (choice.costs.size() == 1) {
    choice.reason = text(to_text(chosen->grid), " is the only grid");
    return choice;
  }
  choice.reason = text(to_text(chosen->grid), " has the shortest predicted step, ",
                       in_time(chosen->step_seconds), " with ", bytes_of(*chosen));
  const std::size_t left_out = choice.costs.size() - fitting.size();
  std::erase(fitting, chosen);
  if (!fitting.empty()) {
    const GridCost* const other = *std::ranges::min_element(fitting, {}, &GridCost::step_seconds);
    choice.reason += text("; next is ", to_text(other->grid), " with ",
                          in_time(other->step_seconds), " and ", bytes_of(*other));
  }
  if (left_out > 0) {
    choice.reason += text("; ", left_out, left_out == 1 ? " grid needs" : " grids need",
                          " more memory than there is");
  }
  return choice;
}

}  // namespace micrec
