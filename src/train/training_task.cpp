#include "train/training_task.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "model/modality.h"

namespace micrec {
namespace {

ModelConfig with_modalities(ModelConfig config, const std::vector<std::string>& modalities) {
  config.modalities = modalities;
  return config;
}

}  // namespace

TrainingTask::TrainingTask(const std::string& path, const ModelConfig& asked,
                           const SamplingConfig& batches, ItemRegressionWish wish,
                           std::uint64_t random_seed)
    : dataset(DatasetFile::open(path)),
      summary(summarise(dataset)),
      modalities(resolve_modalities(asked.modalities, dataset)),
      model(resolve(with_modalities(asked, modalities), summary.space.domains())),
      sampling(sampling_of(model, summary, batches)),
      item_regression(std::move(wish)),
      seed(random_seed) {
  sampling.seed = seed;
}

bool TrainingTask::has_validation() const {
  return std::ranges::any_of(dataset.domains(), [](const DomainInfo& domain) {
    return domain.interactions[static_cast<int>(Split::valid)] > 0;
  });
}

SamplingConfig sampling_of(const ModelConfig& model, const DatasetSummary& summary,
                           SamplingConfig sampling) {
  const std::vector<std::int64_t>& counts = summary.training_interactions;
  const std::int64_t all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (model.is_solved()) {
    sampling.batch_size = std::max<std::int64_t>(1, all);
  } else if (sampling.batch_size == 0) {
    sampling.batch_size = std::max(kLeastBatch, (all + kStepsOfEpoch - 1) / kStepsOfEpoch);
  }
  return sampling;
}

}  // namespace micrec
