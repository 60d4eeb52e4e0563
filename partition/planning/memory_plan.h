#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "partition/planning/byte_plan.h"

namespace micrec {

/// What memory is for. The last four are not needed at the same time: a rank needs the largest of
/// them beside all others.
enum class MemoryKind {
  program,          ///< code and libraries of a process, before any data
  graph,            ///< interactions, lists of the halo, sampling, evaluation's lists
  embeddings,       ///< trained rows
  optimizer,        ///< Adam's two moments
  features,         ///< inputs of the content term
  checkpoint_copy,  ///< of rows and moments, while a save goes on in the background
  loading,          ///< features on their way in
  activations,      ///< rows of a step and their gradients
  halo_buffers,     ///< rows of others, sent and received, beside the activations
  evaluation,       ///< final rows, and the items that all users are compared with
};
inline constexpr int kMemoryKinds = 10;
const char* name_of(MemoryKind kind);

/// Bytes of one rank by kind.
struct RankMemory {
  std::array<double, kMemoryKinds> bytes{};

  double& operator[](MemoryKind kind) { return bytes[static_cast<int>(kind)]; }
  double operator[](MemoryKind kind) const { return bytes[static_cast<int>(kind)]; }
  /// What the rank needs at its worst moment.
  double peak() const;
};

/// Sizes that a data set has as a whole.
struct DatasetShape {
  std::int64_t nodes = 0;
  std::int64_t users = 0;
  std::vector<std::int64_t> items_of_domain;
  std::vector<std::int64_t> feature_width;  ///< of each modality used, as stored
  bool has_evaluation = true;
};

/// Memory of every rank on the CPU, from the sizes of what the program keeps: a sum over its arrays
/// and not a measurement, so small things are left out.
///
/// Shapes   loads, needs and semantic have grid.rows parts; `user_nonzeros`: (row parts) training
///          interactions of a part's users; returns grid.ranks() entries.
std::vector<RankMemory> plan_memory(const StepShape& shape, const DatasetShape& dataset,
                                    ProcessGrid grid, const std::vector<RankLoad>& loads,
                                    const std::vector<std::int64_t>& user_nonzeros,
                                    const StepNeeds& needs,
                                    const std::vector<SemanticHalo>& semantic);

}  // namespace micrec
