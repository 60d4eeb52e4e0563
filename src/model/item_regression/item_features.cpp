#include "model/item_regression/item_features.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace micrec {
namespace {

constexpr std::int64_t kRowsAtATime = 4096;

}  // namespace

ItemFeatures::ItemFeatures(const DatasetFile& dataset, const Shard& shard,
                           const std::vector<std::string>& modalities, int feature_dim)
    : dataset_(dataset), shard_(shard) {
  CHECK_LE(modalities.size(), 32) << "a modality has a bit";
  held_.assign(shard.space().items(), 0);
  for (const std::string& name : modalities) {
    const int modality = this->modalities();
    Modality& added = of_modality_.emplace_back();
    added.statistics = fit_statistics(dataset, *shard.summary, name, feature_dim, *shard.world);
    columns_.push_back({width_, width_ + added.statistics.columns()});
    width_ = columns_.back().end;
    const std::vector<std::uint8_t> present = items_with(dataset, name);
    for (std::size_t item = 0; item < present.size(); ++item) {
      if (present[item] != 0) held_[item] |= 1U << modality;
    }
    fit(modality, *shard.world);
  }
}

/// Rows of a domain's items in one modality before they are centred; those that lack it may hold
/// anything.
at::Tensor ItemFeatures::transformed(int modality, int domain, std::int64_t begin,
                                     std::int64_t end) const {
  const FeatureStatistics& statistics = of_modality_[modality].statistics;
  at::Tensor rows = at::empty({end - begin, statistics.mean.size(0)}, at::kFloat);
  dataset_.read_features(domain, statistics.modality, begin, end, rows.data_ptr<float>());
  return centred_and_projected(rows, statistics).contiguous();
}

/// The mean of each domain and the one scale, over the items that were trained on; rank 0 computes,
/// so that the bits do not depend on the number of ranks.
void ItemFeatures::fit(int modality, Communicator& communicator) {
  const NodeSpace& space = shard_.space();
  Modality& of = of_modality_[modality];
  const std::int64_t columns = of.statistics.columns();
  double squares = 0;
  std::int64_t all = 0;
  for (int domain = 0; domain < space.domains(); ++domain) {
    at::Tensor mean = at::zeros({columns}, at::kFloat);
    const DomainInfo& info = dataset_.domains()[domain];
    if (communicator.rank() == 0 && has_modality(info, of.statistics.modality)) {
      std::vector<double> sum(columns, 0);
      const std::int64_t first = space.item_numbers(domain).begin;
      double squares_here = 0;
      std::int64_t count = 0;
      for (std::int64_t begin = 0; begin < info.items; begin += kRowsAtATime) {
        const std::int64_t end = std::min(info.items, begin + kRowsAtATime);
        const at::Tensor rows = transformed(modality, domain, begin, end);
        for (std::int64_t item = begin; item < end; ++item) {
          const bool trained = shard_.summary->training_degree[value(space.item(domain, item))] > 0;
          if (!trained || !has(modality, first + item)) continue;
          const float* row = rows.const_data_ptr<float>() + (item - begin) * columns;
          for (std::int64_t c = 0; c < columns; ++c) {
            sum[c] += row[c];
            squares_here += static_cast<double>(row[c]) * row[c];
          }
          ++count;
        }
      }
      for (std::int64_t c = 0; c < columns && count > 0; ++c) {
        const double of_column = sum[c] / static_cast<double>(count);
        squares_here -= of_column * of_column * static_cast<double>(count);
        mean.mutable_data_ptr<float>()[c] = static_cast<float>(of_column);
      }
      squares += squares_here;
      all += count;
    }
    communicator.broadcast("item_regression.mean", mean, 0);
    of.offset.push_back(mean);
  }
  at::Tensor scale = at::ones({1}, at::kFloat);
  const double spread = all > 0 ? std::sqrt(squares / static_cast<double>(all)) : 0;
  // What float32 cannot divide by is no spread.
  if (spread >= std::numeric_limits<float>::min()) scale.fill_(1 / spread);
  communicator.broadcast("item_regression.scale", scale, 0);
  of.scale = scale.item<float>();
}

void ItemFeatures::read(std::int64_t begin, std::int64_t end, float* out) const {
  const NodeSpace& space = shard_.space();
  std::fill_n(out, (end - begin) * width_, 0.0F);
  for (int domain = 0; domain < space.domains(); ++domain) {
    const std::int64_t first = space.item_numbers(domain).begin;
    const std::int64_t from = std::max(begin, first);
    const std::int64_t to = std::min(end, first + space.items_of(domain).size());
    if (from >= to) continue;
    for (int m = 0; m < modalities(); ++m) {
      bool is_there = false;
      for (std::int64_t item = from; item < to; ++item) is_there = is_there || has(m, item);
      if (!is_there) continue;
      const at::Tensor rows = transformed(m, domain, from - first, to - first);
      const float* const offset = of_modality_[m].offset[domain].const_data_ptr<float>();
      const std::int64_t columns = columns_[m].size();
      for (std::int64_t item = from; item < to; ++item) {
        if (!has(m, item)) continue;
        const float* const row = rows.const_data_ptr<float>() + (item - from) * columns;
        float* const to_row = out + (item - begin) * width_ + columns_[m].begin;
        for (std::int64_t c = 0; c < columns; ++c) {
          to_row[c] = (row[c] - offset[c]) * of_modality_[m].scale;
        }
      }
    }
  }
}

}  // namespace micrec
