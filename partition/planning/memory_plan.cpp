#include "partition/planning/memory_plan.h"

#include <algorithm>
#include <iterator>

namespace micrec {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
// LibTorch, MPI and HDF5 as they are resident before any data, and their heaps: what training on a
// hundred users takes.
constexpr double kProgramBytes = 370 * kMiB;
constexpr double kEvaluationBlockBytes = 512 * kMiB;

}  // namespace

const char* name_of(MemoryKind kind) {
  constexpr const char* kNames[] = {"program",      "graph",           "embeddings", "optimizer",
                                    "features",     "checkpoint copy", "loading",    "activations",
                                    "halo buffers", "evaluation"};
  static_assert(std::size(kNames) == kMemoryKinds);
  return kNames[static_cast<int>(kind)];
}

double RankMemory::peak() const {
  const RankMemory& self = *this;
  const double always = self[MemoryKind::program] + self[MemoryKind::graph] +
                        self[MemoryKind::embeddings] + self[MemoryKind::optimizer] +
                        self[MemoryKind::features];
  const double step = self[MemoryKind::activations] + self[MemoryKind::halo_buffers] +
                      self[MemoryKind::checkpoint_copy];
  const double evaluation = self[MemoryKind::evaluation] + self[MemoryKind::checkpoint_copy];
  return always + std::max({self[MemoryKind::loading], step, evaluation});
}

std::vector<RankMemory> plan_memory(const StepShape& shape, const std::vector<StepCosts>& costs,
                                    const DatasetShape& dataset) {
  double most_items = 0;
  for (const std::int64_t items : dataset.items_of_domain) {
    most_items = std::max(most_items, static_cast<double>(items));
  }
  std::vector<RankMemory> memory;
  for (const StepCosts& declared : costs) {
    RankMemory rank{declared.memory()};
    rank[MemoryKind::program] = kProgramBytes;
    rank[MemoryKind::optimizer] = shape.moments * rank[MemoryKind::embeddings];
    rank[MemoryKind::checkpoint_copy] = (1 + shape.moments) * rank[MemoryKind::embeddings];
    if (dataset.has_evaluation) {
      rank[MemoryKind::evaluation] +=
          2 * std::min(most_items * static_cast<double>(shape.dim) * kFloatBytes,
                       kEvaluationBlockBytes);
    } else {
      rank[MemoryKind::evaluation] = 0;
    }
    memory.push_back(rank);
  }
  return memory;
}

}  // namespace micrec
