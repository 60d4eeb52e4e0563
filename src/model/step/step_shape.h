#pragma once

#include <cstdint>
#include <vector>

#include "data/batches.h"
#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/step/shard.h"
#include "partition/planning/step_costs.h"

namespace micrec {

/// What the parts of a model declare their costs from.
struct ModelShape {
  ModelConfig config;  // resolved
  int domains = 1;
  std::vector<std::int64_t> content_columns;  // of each modality of the content term, projected

  int content_modalities() const { return static_cast<int>(content_columns.size()); }
  int semantic_modalities() const {
    return config.has_semantic() ? static_cast<int>(config.modalities.size()) : 0;
  }
  bool simulates_cold() const { return config.cold_simulation > 0; }
};

/// A training step as a plan sees it: what all parts declare, added up.
StepShape step_shape(const ModelShape& shape, const BatchShape& batch);

/// Of `config` (resolved) on a data set. Errors: as modality_width().
StepShape step_shape(const DatasetFile& dataset, const DatasetSummary& summary,
                     const ModelConfig& config, const SamplingConfig& sampling);

}  // namespace micrec
