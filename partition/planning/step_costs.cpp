#include "partition/planning/step_costs.h"

#include <glog/logging.h>

#include <cstring>

namespace micrec {

int ranks_of(Group group, ProcessGrid grid) {
  switch (group) {
    case Group::rows:
      return grid.rows;
    case Group::columns:
      return grid.columns;
    case Group::world:
      break;
  }
  return grid.ranks();
}

double RankPlace::summed_bytes(Group group, double numbers) const {
  const double ranks = ranks_of(group, grid);
  return 2 * (ranks - 1) / ranks * numbers * kDoubleBytes;
}

double RankPlace::gathered_bytes(Group group, double numbers) const {
  return (ranks_of(group, grid) - 1) * numbers * kDoubleBytes;
}

void StepCosts::exchange(const char* name, Group group, double calls, double bytes) {
  const double peers = ranks_of(group, grid_) - 1;
  if (calls <= 0 || peers <= 0) return;
  for (Exchange& known : exchanges_) {
    if (std::strcmp(known.name, name) != 0) continue;
    known.calls += calls;
    known.messages += calls * peers;
    known.bytes += bytes;
    return;
  }
  exchanges_.push_back({name, calls, calls * peers, bytes});
}

std::vector<StepCosts::Exchange> StepCosts::exchanges() const {
  std::vector<Exchange> all = exchanges_;
  for (Exchange& exchange : all) {
    const auto joined = joined_.find(exchange.name);
    if (joined != joined_.end()) exchange.bytes += joined->second;
  }
  return all;
}

std::vector<StepCosts> costs_of_ranks(const StepShape& shape, ProcessGrid grid,
                                      const StepLoads& loads) {
  CHECK_EQ(static_cast<int>(loads.loads.size()), grid.rows);
  CHECK_EQ(static_cast<int>(loads.user_nonzeros.size()), grid.rows);
  CHECK_EQ(loads.needs.parts(), grid.rows);
  CHECK_EQ(static_cast<int>(loads.semantic.size()), shape.semantic_modalities);
  std::vector<StepCosts> costs;
  for (int rank = 0; rank < grid.ranks(); ++rank) {
    const Range columns = columns_of(grid, static_cast<int>(shape.dim), grid.column_part(rank));
    const RankPlace at{loads,
                       grid,
                       static_cast<double>(shape.dim),
                       grid.row_part(rank),
                       static_cast<double>(columns.size()),
                       shape.on_gpu};
    StepCosts own(grid);
    shape.declare(at, own);
    costs.push_back(std::move(own));
  }
  return costs;
}

}  // namespace micrec
