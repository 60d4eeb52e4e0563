#pragma once

#include <array>
#include <vector>

#include "partition/planning/step_costs.h"

namespace micrec {

const char* name_of(MemoryKind kind);

/// Bytes of one rank by kind.
struct RankMemory {
  std::array<double, kMemoryKinds> bytes{};

  double& operator[](MemoryKind kind) { return bytes[static_cast<int>(kind)]; }
  double operator[](MemoryKind kind) const { return bytes[static_cast<int>(kind)]; }
  /// What the rank needs at its worst moment.
  double peak() const;
};

/// Memory of every rank on the CPU, from the sizes of what the program keeps: a sum over its arrays
/// and not a measurement, so small things are left out. `costs`: of all ranks; beside what the
/// model's parts declare come the program, the optimizer, saving and evaluation.
std::vector<RankMemory> plan_memory(const StepShape& shape, const std::vector<StepCosts>& costs,
                                    const DatasetShape& dataset);

}  // namespace micrec
