#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "graph/nearest_neighbours.h"
#include "model/modality.h"
#include "model/step/shard.h"

namespace micrec {

/// Features of items as item regression takes them: each modality as the content term has it (see
/// FeatureStatistics), then centred within its domain and divided by one number, so that the mean
/// square of a row is 1; zeros where an item lacks it. Modalities lie beside each other.
class ItemFeatures {
 public:
  /// Principal directions that are kept of a wider modality: more than the content term takes, as
  /// these numbers are only multiplied with each other.
  static constexpr int kColumns = 384;

  /// Ranks    collective. Cost     three passes over the features on rank 0, one on the others.
  ItemFeatures(const DatasetFile& dataset, const Shard& shard,
               const std::vector<std::string>& modalities, int feature_dim);

  std::int64_t width() const { return width_; }
  int modalities() const { return static_cast<int>(columns_.size()); }
  /// Of each modality in a row.
  const std::vector<Range>& columns() const { return columns_; }

  /// Rows of items numbered over all domains. out: ((end - begin) * width()) float32.
  void read(std::int64_t begin, std::int64_t end, float* out) const;
  /// Which modalities each item has, a bit each from the lowest. (items of all domains)
  const std::vector<std::uint32_t>& held() const { return held_; }

 private:
  struct Modality {
    FeatureStatistics statistics;
    std::vector<at::Tensor> offset;  // [domain] (columns) float32 to take off; undefined: lacks it
    float scale = 1;
  };
  bool has(int modality, std::int64_t item) const { return (held_[item] >> modality & 1) != 0; }
  at::Tensor transformed(int modality, int domain, std::int64_t begin, std::int64_t end) const;
  void fit(int modality, Communicator& communicator);

  const DatasetFile& dataset_;
  const Shard& shard_;
  std::vector<Modality> of_modality_;
  std::vector<Range> columns_;
  std::vector<std::uint32_t> held_;
  std::int64_t width_ = 0;
};

}  // namespace micrec
