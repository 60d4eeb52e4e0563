#include "graph/nearest_neighbours.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/parallel.h"
#include "tests/support/on_threads.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

FeatureSource source_of(const at::Tensor& features) {
  const std::int64_t width = features.size(1);
  return {features.size(0), width,
          [features, width](std::int64_t begin, std::int64_t end, float* rows) {
            std::copy_n(features.const_data_ptr<float>() + begin * width, (end - begin) * width,
                        rows);
          }};
}

std::vector<std::int64_t> all_items(std::int64_t items) {
  std::vector<std::int64_t> numbers(items);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

std::vector<std::int32_t> list_of(const NumberLists& result, std::int64_t query) {
  return {result.of(query).begin(), result.of(query).end()};
}

TEST(NearestNeighbours, AreTheEligibleItemsOfLargestCosine) {
  constexpr std::int64_t kItems = 4500;  // more than one block of targets
  constexpr int kNeighbours = 10;
  const at::Tensor features = random_matrix(kItems, 19, 1);
  std::vector<std::uint8_t> eligible(kItems, 1);
  for (std::int64_t i = 0; i < kItems; i += 3) eligible[i] = 0;
  std::vector<std::int64_t> queries;
  for (std::int64_t i = 0; i < kItems; i += 7) queries.push_back(i);
  const at::Tensor rows = features.index_select(0, at::tensor(queries));
  const NumberLists found = on_threads(2, [&] {
    return nearest_neighbours(queries, rows, source_of(features), eligible, kNeighbours);
  });
  const at::Tensor unit = features.to(at::kDouble) / features.to(at::kDouble).norm(2, 1, true);
  const at::Tensor cosines = unit.index_select(0, at::tensor(queries)).mm(unit.t());
  ASSERT_EQ(found.offsets.size(), queries.size() + 1);
  for (std::size_t q = 0; q < queries.size(); ++q) {
    std::vector<std::pair<double, std::int32_t>> ranked;
    for (std::int32_t item = 0; item < kItems; ++item) {
      if (eligible[item] && item != queries[q]) {
        ranked.push_back({-cosines.const_data_ptr<double>()[q * kItems + item], item});
      }
    }
    std::partial_sort(ranked.begin(), ranked.begin() + kNeighbours, ranked.end());
    std::vector<std::int32_t> expected;
    for (int n = 0; n < kNeighbours; ++n) expected.push_back(ranked[n].second);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(list_of(found, static_cast<std::int64_t>(q)), expected) << "query " << queries[q];
  }
}

TEST(NearestNeighbours, GiveTiesToTheSmallerNumber) {
  // Items of the same remainder by 3 are multiples of each other.
  at::Tensor features = at::zeros({30, 3});
  for (int i = 0; i < 30; ++i) {
    features.mutable_data_ptr<float>()[i * 3 + i % 3] = static_cast<float>(1 << (i % 5));
  }
  const NumberLists found = nearest_neighbours(all_items(30), features, source_of(features),
                                               std::vector<std::uint8_t>(30, 1), 3);
  EXPECT_EQ(list_of(found, 0), (std::vector<std::int32_t>{3, 6, 9}));
  EXPECT_EQ(list_of(found, 4), (std::vector<std::int32_t>{1, 7, 10}));
  EXPECT_EQ(list_of(found, 29), (std::vector<std::int32_t>{2, 5, 8}));
}

TEST(NearestNeighbours, AreFewerWhereFewerAreEligible) {
  const at::Tensor features = random_matrix(20, 4, 2);
  std::vector<std::uint8_t> eligible(20, 0);
  eligible[3] = eligible[11] = 1;
  const NumberLists found = on_threads(2, [&] {
    return nearest_neighbours(all_items(20), features, source_of(features), eligible, 5);
  });
  EXPECT_EQ(list_of(found, 0), (std::vector<std::int32_t>{3, 11}));
  EXPECT_EQ(list_of(found, 3), (std::vector<std::int32_t>{11}));
  eligible[3] = eligible[11] = 0;
  EXPECT_TRUE(on_threads(2, [&] {
                return nearest_neighbours(all_items(20), features, source_of(features), eligible,
                                          5);
              }).values.empty());
}

TEST(NearestNeighbours, OfARowOfZerosAreTheSmallestNumbers) {
  at::Tensor features = random_matrix(10, 4, 2);
  features[6].zero_();
  const NumberLists found = nearest_neighbours(all_items(10), features, source_of(features),
                                               std::vector<std::uint8_t>(10, 1), 2);
  EXPECT_EQ(list_of(found, 6), (std::vector<std::int32_t>{0, 1}));
}

TEST(NearestNeighbours, AreTheSameForAnyShareOfTheQueriesAndAnyThreads) {
  // Many near ties: few different values a column.
  const at::Tensor features = (random_matrix(1300, 40, 3) * 2).round() + 0.25;
  const std::vector<std::uint8_t> eligible(1300, 1);
  const NumberLists whole =
      nearest_neighbours(all_items(1300), features, source_of(features), eligible, 10);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(1300, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<std::int64_t> queries;
      for (const GlobalNode node : ownership.nodes_of(rank)) queries.push_back(value(node));
      const ComputeThreads threads(1 + rank % 3);
      const NumberLists part =
          nearest_neighbours(queries, features.index_select(0, at::tensor(queries, at::kLong)),
                             source_of(features), eligible, 10);
      ASSERT_EQ(part.offsets.size(), queries.size() + 1);
      for (std::size_t q = 0; q < queries.size(); ++q) {
        EXPECT_EQ(list_of(part, static_cast<std::int64_t>(q)), list_of(whole, queries[q]));
      }
    }
  }
}

TEST(NearestNeighboursDeathTest, RefuseFeaturesThatAreNotFinite) {
  at::Tensor features = random_matrix(10, 4, 2);
  features[6][1] = NAN;
  EXPECT_DEATH(nearest_neighbours(all_items(10), features, source_of(features),
                                  std::vector<std::uint8_t>(10, 1), 2),
               "features of item 6 are not finite");
}

}  // namespace
}  // namespace micrec
