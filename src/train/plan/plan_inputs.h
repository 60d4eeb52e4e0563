#pragma once

#include <vector>

#include "data/batches.h"
#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/step/shard.h"
#include "partition/planning/run_plan.h"

namespace micrec {

/// How semantic neighbours enter a plan.
enum class SemanticDetail {
  found,      ///< searched for, exactly, where that takes seconds; else estimated
  estimated,  ///< as if drawn at random among the items with the modality
};

/// The semantic neighbours of each modality of `config`, resolved. Ranks: local.
std::vector<SemanticGraph> semantic_graphs(const DatasetFile& dataset,
                                           const DatasetSummary& summary, const ModelConfig& config,
                                           SemanticDetail detail);

/// Reads what a plan of training `config` (resolved) on this data set depends on.
/// Ranks    local; the whole graph is in memory, 8 bytes an interaction.
/// Errors   as modality_width().
PlanInputs read_plan_inputs(const DatasetFile& dataset, const DatasetSummary& summary,
                            const ModelConfig& config, const SamplingConfig& sampling,
                            SemanticDetail detail);

}  // namespace micrec
