#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/batches.h"
#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/step/shard.h"
#include "train/item_regression_search.h"

namespace micrec {

/// What is trained on what: a data set, and what the flags of a run mean there.
struct TrainingTask {
  /// All as the flags have it: modalities may be "all", the batch automatic.
  /// Ranks    local. Errors   those of DatasetFile::open(), resolve_modalities() and resolve().
  TrainingTask(const std::string& path, const ModelConfig& asked, const SamplingConfig& batches,
               ItemRegressionWish wish, std::uint64_t random_seed);

  /// Whether the data set has validation interactions.
  bool has_validation() const;

  DatasetFile dataset;
  DatasetSummary summary;
  std::vector<std::string> modalities;  ///< that the run reads, if only for item regression
  ModelConfig model;                    ///< resolved
  SamplingConfig sampling;              ///< with the batch that sampling_of() says
  ItemRegressionWish item_regression;
  std::uint64_t seed;  ///< of everything random, batches too
};

/// The batches of a model: a kind that is_solved() has one an epoch, of all interactions; one whose
/// batch is automatic has kStepsOfEpoch of them, or fewer of at least kLeastBatch triples.
inline constexpr std::int64_t kStepsOfEpoch = 16;
inline constexpr std::int64_t kLeastBatch = 2048;
SamplingConfig sampling_of(const ModelConfig& model, const DatasetSummary& summary,
                           SamplingConfig sampling);

}  // namespace micrec
