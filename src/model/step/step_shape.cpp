#include "model/step/step_shape.h"

#include <algorithm>

#include "model/modality.h"
#include "model/model.h"

namespace micrec {

StepShape step_shape(const ModelShape& shape, const BatchShape& batch) {
  return {.dim = shape.config.dim,
          .batch = batch,
          .moments = shape.config.is_solved() ? 0 : 2,
          .semantic_modalities = shape.semantic_modalities(),
          .semantic_neighbours = shape.config.semantic_neighbors,
          .declare = [shape](const RankPlace& at, StepCosts& costs) {
            Model::declare(shape, at, costs);
          }};
}

StepShape step_shape(const DatasetFile& dataset, const DatasetSummary& summary,
                     const ModelConfig& config, const SamplingConfig& sampling) {
  ModelShape shape{config, summary.space.domains(), {}};
  if (config.has_content()) {
    for (const std::string& modality : config.modalities) {
      shape.content_columns.push_back(
          std::min<std::int64_t>(modality_width(dataset, modality), config.feature_dim));
    }
  }
  return step_shape(shape, {.triples = sampling.batch_size,
                            .by_user = sampling.sampling == Sampling::users,
                            .has_contrastive = config.contrastive_weight > 0,
                            .contrastive_batch = config.contrastive_batch});
}

}  // namespace micrec
