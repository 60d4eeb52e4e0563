#include "evaluate/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/parallel.h"

namespace micrec {
namespace {

/// Columns of which most rows are zero, as those of users without a hit are. (users, columns)
std::vector<double> make_values(std::int64_t users, std::int64_t columns, double share) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<double> values;
  for (std::int64_t u = 0; u < users; ++u) {
    const bool hit = uniform(random) < share;
    for (std::int64_t c = 0; c < columns; ++c) values.push_back(hit ? uniform(random) : 0);
  }
  return values;
}

std::vector<double> column_of(const std::vector<double>& rows, std::int64_t columns,
                              std::int64_t column) {
  std::vector<double> values;
  for (std::size_t n = column; n < rows.size(); n += columns) values.push_back(rows[n]);
  return values;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments moments_of(const std::vector<double>& values) {
  Moments moments;
  for (const double v : values) moments.mean += v / static_cast<double>(values.size());
  for (const double v : values) {
    moments.deviation +=
        (v - moments.mean) * (v - moments.mean) / static_cast<double>(values.size());
  }
  moments.deviation = std::sqrt(moments.deviation);
  return moments;
}

TEST(Bootstrap, MeansHaveTheSpreadOfTheStandardError) {
  for (const double share : {0.03, 0.4, 1.0}) {
    constexpr std::int64_t kUsers = 900;
    const std::vector<double> values = make_values(kUsers, 2, share);
    const std::vector<double> means = resampled_means(values, 2, {});
    for (int c = 0; c < 2; ++c) {
      const Moments of_users = moments_of(column_of(values, 2, c));
      const Moments of_means = moments_of(column_of(means, 2, c));
      const double error = of_users.deviation / std::sqrt(static_cast<double>(kUsers));
      // 10,000 samples know their mean to 1% of a standard error and their spread to 0.7%.
      EXPECT_NEAR(of_means.mean, of_users.mean, 0.05 * error) << share;
      EXPECT_NEAR(of_means.deviation, error, 0.04 * error) << share;
    }
  }
}

TEST(Bootstrap, LeavesOutZerosWithoutChangingTheDistribution) {
  // One user of four with a value: a mean is a quarter of a binomial number of four draws.
  const std::vector<double> values = {0, 0, 1, 0};
  const std::vector<double> means = resampled_means(values, 1, {.resamples = 40'000});
  const double chances[] = {0.31640625, 0.421875, 0.2109375, 0.046875, 0.00390625};
  for (int hits = 0; hits <= 4; ++hits) {
    const auto count = std::ranges::count(means, hits / 4.0);
    const double expected = chances[hits] * 40'000;
    EXPECT_NEAR(static_cast<double>(count), expected, 5 * std::sqrt(expected)) << hits;
  }
}

TEST(Bootstrap, DrawsAllColumnsOfAUserTogether) {
  std::vector<double> values;
  for (const double v : make_values(500, 1, 0.3)) values.insert(values.end(), {v, 1 - 2 * v});
  const std::vector<double> means = resampled_means(values, 2, {.resamples = 200});
  for (std::size_t n = 0; n < means.size(); n += 2) {
    EXPECT_NEAR(means[n + 1], 1 - 2 * means[n], 1e-12);
  }
}

TEST(Bootstrap, GivesTheSameBitsForASeedWhateverTheThreads) {
  const std::vector<double> values = make_values(300, 3, 0.2);
  const std::vector<double> expected = resampled_means(values, 3, {.resamples = 700, .seed = 4});
  {
    const ComputeThreads threads(3);
    EXPECT_EQ(resampled_means(values, 3, {.resamples = 700, .seed = 4}), expected);
  }
  EXPECT_NE(resampled_means(values, 3, {.resamples = 700, .seed = 5}), expected);
  EXPECT_NE(resampled_means(values, 3, {.resamples = 700, .seed = 4}, 1), expected);
}

TEST(Bootstrap, TakesNoUsersAndUsersWithoutValues) {
  EXPECT_EQ(resampled_means({}, 2, {.resamples = 3}), std::vector<double>(6, 0.0));
  EXPECT_EQ(resampled_means(std::vector<double>(8, 0.0), 2, {.resamples = 3}),
            std::vector<double>(6, 0.0));
}

TEST(Bootstrap, MiddleIsLinearBetweenNeighbours) {
  std::vector<double> values;
  for (int n = 100; n >= 0; --n) values.push_back(n);
  const Interval interval = middle_95(values);
  EXPECT_DOUBLE_EQ(interval.low, 2.5);
  EXPECT_DOUBLE_EQ(interval.high, 97.5);
  EXPECT_FALSE(interval.holds_zero());
  EXPECT_TRUE((Interval{-1, 0}).holds_zero());
  EXPECT_DOUBLE_EQ(middle_95({7}).high, 7);
}

}  // namespace
}  // namespace micrec
