#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace micrec {

/// Measures of one user's ranking at a cutoff K, all in [0, 1], higher is better.
///
/// `ranks` are the ranks of the user's relevant items among all candidates, from 0, rising, and
/// must not be empty; h is how many of them are below K, n how many there are.
enum class Metric {
  recall,  ///< h / n
  ndcg,    ///< sum of 1 / log2(r + 2) over the ranks r < K, over that sum of r = 0 .. min(n, K) - 1
  precision,  ///< h / K
  hit_rate,   ///< 1 where h > 0, else 0
  mrr,        ///< 1 / (r + 1) of the first rank r where r < K, else 0
  map,        ///< sum over j = 1 .. h of j / (r_j + 1), divided by min(n, K); r_j is the j-th rank
};

/// In the order in which they are reported.
inline constexpr Metric kMetrics[] = {Metric::recall,   Metric::ndcg, Metric::precision,
                                      Metric::hit_rate, Metric::mrr,  Metric::map};

/// "recall", "ndcg", ...
const char* name_of(Metric metric);

/// The name under which a metric is reported: "ndcg@20".
std::string metric_name(Metric metric, std::int64_t k);

/// Computes all metrics at fixed cutoffs, with the discounts of ndcg in a table.
class MetricTable {
 public:
  /// Cutoffs are at least 1; `candidates` is the largest number of items that can be ranked.
  MetricTable(std::vector<std::int64_t> cutoffs, std::int64_t candidates);

  const std::vector<std::int64_t>& cutoffs() const { return cutoffs_; }
  /// Values a user: the metrics at the first cutoff in the order of kMetrics, then at the next.
  std::int64_t values() const;

  /// Shapes   ranks: (n) rising, n >= 1; out: (values()).
  void compute(std::span<const std::int32_t> ranks, std::span<double> out) const;

 private:
  std::vector<std::int64_t> cutoffs_;
  std::vector<double> discount_;  // (largest useful cutoff) 1 / log2(rank + 2)
  std::vector<double> ideal_;     // (largest useful cutoff + 1) sum of the first discounts
};

}  // namespace micrec
