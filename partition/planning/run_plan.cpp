#include "partition/planning/run_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace micrec {
namespace {

template <typename Values, typename NumberOf>
double heaviest_over_mean(const Values& values, const NumberOf& number_of) {
  double sum = 0;
  double most = 0;
  for (const auto& value : values) {
    sum += number_of(value);
    most = std::max<double>(most, number_of(value));
  }
  return sum > 0 ? most * static_cast<double>(values.size()) / sum : 1;
}

std::vector<SemanticHalo> semantic_halos_of(const PlanInputs& inputs, const Ownership& rows) {
  std::vector<SemanticHalo> halos;
  for (const SemanticGraph& modality : inputs.semantic) {
    if (!modality.neighbours) {
      halos.push_back(expected_semantic_halo(inputs.space, inputs.graph, modality.present, rows,
                                             inputs.shape.semantic_neighbours));
      continue;
    }
    // A target is read by the items that chose it; going back, an item's gradient by its choices.
    halos.push_back({count_halo(transposed(*modality.neighbours), rows),
                     count_halo(*modality.neighbours, rows)});
  }
  return halos;
}

}  // namespace

int GridPlan::fullest_rank() const {
  const auto most = std::ranges::max_element(memory, {}, &RankMemory::peak);
  return static_cast<int>(most - memory.begin());
}

int RankCosts::slowest_rank() const {
  const auto most = std::ranges::max_element(time, {}, &StepSeconds::total);
  return static_cast<int>(most - time.begin());
}

GridCost GridPlan::cost() const {
  return {grid, time[slowest_rank()].total(), memory[fullest_rank()].peak(), bytes.most()};
}

GridPlan plan_grid(const PlanInputs& inputs, const Ownership& rows, ProcessGrid grid,
                   const MachineRates& rates) {
  CHECK_EQ(rows.ranks, grid.rows);
  const std::vector<std::int32_t> degree = degrees_of(inputs.graph);
  StepLoads loads;
  loads.loads = loads_of(inputs.space, rows, degree);
  loads.user_nonzeros.resize(grid.rows);
  for (std::int64_t user = 0; user < inputs.space.users(); ++user) {
    loads.user_nonzeros[rows.owner[user]] += degree[user];
  }
  loads.needs = expected_needs(inputs.space, inputs.people, inputs.graph, inputs.eligible, rows,
                               inputs.shape.batch);
  loads.semantic = semantic_halos_of(inputs, rows);
  loads.dataset = inputs.dataset;
  const std::vector<StepCosts> costs = costs_of_ranks(inputs.shape, grid, loads);
  GridPlan plan;
  plan.grid = grid;
  plan.bytes = plan_bytes(costs);
  plan.memory = plan_memory(inputs.shape, costs, inputs.dataset);
  plan.time = plan_time(costs, rates);
  plan.loads = std::move(loads.loads);
  plan.needs = std::move(loads.needs);
  plan.balance.nonzeros =
      heaviest_over_mean(plan.loads, [](const RankLoad& load) { return load.nonzeros; });
  plan.balance.rows =
      heaviest_over_mean(plan.loads, [](const RankLoad& load) { return load.users + load.items; });
  plan.balance.memory =
      heaviest_over_mean(plan.memory, [](const RankMemory& memory) { return memory.peak(); });
  return plan;
}

}  // namespace micrec
