#pragma once

#include <cstdint>
#include <vector>

#include "partition/planning/run_plan.h"
#include "train/training_task.h"

namespace micrec {

/// How semantic neighbours enter a plan.
enum class SemanticDetail {
  found,      ///< searched for, exactly, where that takes seconds; else estimated
  estimated,  ///< as if drawn at random among the items with the modality
};

/// The semantic neighbours of each modality of the model. Ranks: local.
std::vector<SemanticGraph> semantic_graphs(const TrainingTask& task, SemanticDetail detail);

/// Reads what a plan of the training depends on.
/// Ranks    local; the whole graph is in memory, 8 bytes an interaction.
/// Errors   as modality_width().
PlanInputs read_plan_inputs(const TrainingTask& task, SemanticDetail detail);

/// The width of each modality that the run reads. Errors: as modality_width().
std::vector<std::int64_t> widths_of(const TrainingTask& task);

}  // namespace micrec
