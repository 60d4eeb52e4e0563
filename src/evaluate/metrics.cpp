#include "evaluate/metrics.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/text.h"

namespace micrec {

const char* name_of(Metric metric) {
  constexpr const char* kNames[] = {"recall", "ndcg", "precision", "hit_rate", "mrr", "map"};
  static_assert(std::size(kNames) == std::size(kMetrics));
  return kNames[static_cast<int>(metric)];
}

std::string metric_name(Metric metric, std::int64_t k) { return text(name_of(metric), '@', k); }

MetricTable::MetricTable(std::vector<std::int64_t> cutoffs, std::int64_t candidates)
    : cutoffs_(std::move(cutoffs)) {
  std::int64_t longest = 0;
  for (const std::int64_t k : cutoffs_) {
    CHECK_GE(k, 1);
    longest = std::max(longest, std::min(k, candidates));
  }
  ideal_.push_back(0);
  for (std::int64_t rank = 0; rank < longest; ++rank) {
    discount_.push_back(1 / std::log2(static_cast<double>(rank + 2)));
    ideal_.push_back(ideal_.back() + discount_.back());
  }
}

std::int64_t MetricTable::values() const {
  return static_cast<std::int64_t>(cutoffs_.size() * std::size(kMetrics));
}

void MetricTable::compute(std::span<const std::int32_t> ranks, std::span<double> out) const {
  CHECK(!ranks.empty());
  CHECK_EQ(static_cast<std::int64_t>(out.size()), values());
  const auto relevant = static_cast<std::int64_t>(ranks.size());
  double* value = out.data();
  for (const std::int64_t k : cutoffs_) {
    std::int64_t hits = 0;
    double gain = 0;
    double precisions = 0;
    for (; hits < relevant && ranks[hits] < k; ++hits) {
      gain += discount_[ranks[hits]];
      precisions += static_cast<double>(hits + 1) / (ranks[hits] + 1.0);
    }
    const auto h = static_cast<double>(hits);
    const std::int64_t best_hits = std::min(relevant, k);
    for (const Metric metric : kMetrics) {
      switch (metric) {
        case Metric::recall:
          *value++ = h / static_cast<double>(relevant);
          break;
        case Metric::ndcg:
          *value++ = gain / ideal_[best_hits];
          break;
        case Metric::precision:
          *value++ = h / static_cast<double>(k);
          break;
        case Metric::hit_rate:
          *value++ = hits > 0 ? 1 : 0;
          break;
        case Metric::mrr:
          *value++ = hits > 0 ? 1 / (ranks[0] + 1.0) : 0;
          break;
        case Metric::map:
          *value++ = precisions / static_cast<double>(best_hits);
          break;
      }
    }
  }
}

}  // namespace micrec
