#include "evaluate/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/random.h"

namespace micrec {
namespace {

using Ranks = std::vector<std::int32_t>;

/// One metric of one user.
double metric(Metric metric, const Ranks& ranks, std::int64_t k) {
  const MetricTable table({k}, ranks.back() + 1 + static_cast<std::int64_t>(ranks.size()));
  double values[std::size(kMetrics)];
  table.compute(ranks, values);
  return values[static_cast<int>(metric)];
}

TEST(Metrics, OfAHandCalculatedList) {
  const Ranks ranks = {1, 3, 12};  // second, fourth and thirteenth
  EXPECT_DOUBLE_EQ(metric(Metric::recall, ranks, 5), 2.0 / 3);
  EXPECT_DOUBLE_EQ(metric(Metric::precision, ranks, 5), 2.0 / 5);
  EXPECT_DOUBLE_EQ(metric(Metric::hit_rate, ranks, 5), 1);
  EXPECT_DOUBLE_EQ(metric(Metric::mrr, ranks, 5), 1.0 / 2);
  EXPECT_DOUBLE_EQ(metric(Metric::map, ranks, 5), (1.0 / 2 + 2.0 / 4) / 3);
  const double gain = 1 / std::log2(3) + 1 / std::log2(5);
  const double ideal = 1 + 1 / std::log2(3) + 1 / std::log2(4);
  EXPECT_DOUBLE_EQ(metric(Metric::ndcg, ranks, 5), gain / ideal);
  // With fewer places than relevant items the ideal list is as long as there are places.
  EXPECT_DOUBLE_EQ(metric(Metric::ndcg, ranks, 2), (1 / std::log2(3)) / (1 + 1 / std::log2(3)));
  EXPECT_DOUBLE_EQ(metric(Metric::map, ranks, 2), (1.0 / 2) / 2);
}

TEST(Metrics, AreZeroWithoutAHitAndOneForThePerfectList) {
  for (const Metric which : kMetrics) {
    EXPECT_EQ(metric(which, Ranks{20, 21}, 20), 0) << name_of(which);
    EXPECT_EQ(metric(which, Ranks{0, 1, 2}, 3), 1) << name_of(which);
    if (which != Metric::precision && which != Metric::recall) {
      EXPECT_EQ(metric(which, Ranks{0, 1, 2}, 2), 1) << name_of(which);
      EXPECT_EQ(metric(which, Ranks{0, 1, 2}, 1), 1) << name_of(which);
    }
  }
}

TEST(Metrics, TakeCutoffsLargerThanTheCatalogue) {
  const Ranks ranks = {0, 4};
  const MetricTable table({1'000'000'000}, 5);
  std::vector<double> values(table.values());
  table.compute(ranks, values);
  EXPECT_DOUBLE_EQ(values[0], 1);
  EXPECT_DOUBLE_EQ(values[1], (1 + 1 / std::log2(6)) / (1 + 1 / std::log2(3)));
  EXPECT_DOUBLE_EQ(values[2], 2e-9);
  EXPECT_DOUBLE_EQ(values[3], 1);
  EXPECT_DOUBLE_EQ(values[4], 1);
  EXPECT_DOUBLE_EQ(values[5], (1 + 2.0 / 5) / 2);
}

// The definitions again, place by place instead of hit by hit.
TEST(Metrics, EqualAWalkDownTheList) {
  const Random random(1, Purpose::synthetic);
  const std::vector<std::int64_t> cutoffs = {1, 3, 10, 50, 400};
  const MetricTable table(cutoffs, 200);
  for (std::uint32_t round = 0; round < 200; ++round) {
    const double share = random.uniform(round);
    std::vector<char> relevant(200);
    Ranks ranks;
    for (std::int32_t place = 0; place < 200; ++place) {
      relevant[place] = random.uniform(place, round + 1) < share * share;
      if (relevant[place]) ranks.push_back(place);
    }
    if (ranks.empty()) continue;
    std::vector<double> values(table.values());
    table.compute(ranks, values);
    for (std::size_t c = 0; c < cutoffs.size(); ++c) {
      double hits = 0, gain = 0, ideal = 0, precisions = 0, first = 0;
      const auto n = static_cast<std::int64_t>(ranks.size());
      for (std::int64_t place = 0; place < cutoffs[c] && place < 200; ++place) {
        if (place < n) ideal += 1 / std::log2(place + 2.0);
        if (!relevant[place]) continue;
        hits += 1;
        gain += 1 / std::log2(place + 2.0);
        precisions += hits / static_cast<double>(place + 1);
        if (first == 0) first = 1 / static_cast<double>(place + 1);
      }
      const double* value = values.data() + c * std::size(kMetrics);
      const auto k = static_cast<double>(cutoffs[c]);
      EXPECT_NEAR(value[0], hits / static_cast<double>(n), 1e-12);
      EXPECT_NEAR(value[1], gain / ideal, 1e-12);
      EXPECT_NEAR(value[2], hits / k, 1e-12);
      EXPECT_NEAR(value[3], hits > 0 ? 1 : 0, 1e-12);
      EXPECT_NEAR(value[4], first, 1e-12);
      EXPECT_NEAR(value[5], precisions / static_cast<double>(std::min(n, cutoffs[c])), 1e-12);
      for (std::size_t m = 0; m < std::size(kMetrics); ++m) {
        EXPECT_DOUBLE_EQ(value[m], metric(kMetrics[m], ranks, cutoffs[c]));
      }
    }
  }
}

TEST(Metrics, AreNamedWithTheirCutoff) {
  EXPECT_EQ(metric_name(Metric::ndcg, 20), "ndcg@20");
  EXPECT_EQ(metric_name(Metric::hit_rate, 5), "hit_rate@5");
}

}  // namespace
}  // namespace micrec
