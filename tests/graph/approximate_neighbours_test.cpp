#include "graph/approximate_neighbours.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "cluster/thread_communicator.h"
#include "kernels/dispatch.h"
#include "tests/support/on_threads.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

constexpr std::int64_t kItems = 6000;  // two blocks of queries
constexpr int kNeighbours = 10;

/// Rows around a few hundred centres, as those of real items are. Shapes   (items, 24).
at::Tensor clustered(std::int64_t items) {
  const at::Tensor centres = random_matrix(items / 30 + 1, 24, 1);
  const at::Tensor noise = random_matrix(items, 24, 2);
  return centres.index_select(0, at::arange(items).remainder(items / 30 + 1)) + 0.5 * noise;
}

/// Everybody asks, each third item of others than 0; two of three items may be neighbours.
NeighbourQuestion question_of(const at::Tensor& features, int ranks) {
  const std::int64_t items = features.size(0);
  const std::int64_t width = features.size(1);
  NeighbourQuestion question{{items, width,
                              [features, width](std::int64_t begin, std::int64_t end, float* rows) {
                                std::copy_n(features.const_data_ptr<float>() + begin * width,
                                            (end - begin) * width, rows);
                              }},
                             std::vector<std::uint8_t>(items, 1),
                             std::vector<std::int32_t>(items),
                             kNeighbours};
  for (std::int64_t item = 0; item < items; ++item) {
    question.eligible[item] = item % 3 != 1;
    question.asked_by[item] = item % 7 == 3 ? -1 : static_cast<std::int32_t>(item * 31 % ranks);
  }
  return question;
}

/// What each item that asks is answered, by any number of ranks.
std::map<std::int64_t, std::vector<std::int32_t>> answers(const at::Tensor& features, int ranks,
                                                          int threads, NeighbourOptions options,
                                                          NeighbourSearchReport* told = nullptr) {
  const NeighbourQuestion question = question_of(features, ranks);
  std::map<std::int64_t, std::vector<std::int32_t>> lists;
  std::mutex writing;
  run_ranks(ranks, [&](Communicator& communicator) {
    NeighbourSearchReport report;
    const NumberLists found = on_threads(threads, [&] {
      return find_neighbours(question, options, ranks == 1 ? nullptr : &communicator, &report);
    });
    const std::lock_guard lock(writing);
    std::int64_t query = 0;
    for (std::int64_t item = 0; item < features.size(0); ++item) {
      if (question.asked_by[item] != communicator.rank()) continue;
      const std::span<const std::int32_t> of_item = found.of(query++);
      lists[item] = {of_item.begin(), of_item.end()};
    }
    EXPECT_EQ(found.size(), query);
    if (told != nullptr && communicator.rank() == 0) *told = report;
  });
  return lists;
}

double share_found(const std::map<std::int64_t, std::vector<std::int32_t>>& found,
                   const std::map<std::int64_t, std::vector<std::int32_t>>& truth) {
  double hits = 0;
  double all = 0;
  for (const auto& [item, list] : truth) {
    const std::vector<std::int32_t>& there = found.at(item);
    for (const std::int32_t neighbour : list) {
      hits += std::ranges::binary_search(there, neighbour) ? 1 : 0;
      ++all;
    }
  }
  return hits / all;
}

TEST(ApproximateNeighbours, FindMostOfTheTrueOnesAndSayHowMany) {
  const at::Tensor features = clustered(kItems);
  const auto truth = answers(features, 1, 1, {.search = NeighbourSearch::exact});
  NeighbourSearchReport report;
  const auto found = answers(features, 1, 1, {.search = NeighbourSearch::approximate}, &report);
  EXPECT_TRUE(report.tried_graphs);
  EXPECT_FALSE(report.is_exact);
  EXPECT_EQ(report.eligible, kItems * 2 / 3);
  EXPECT_EQ(report.sampled, kSampledItems);
  EXPECT_GE(report.recall, kLeastRecall);
  const double share = share_found(found, truth);
  EXPECT_GE(share, kLeastRecall - 0.005);  // of all items, not only of the sample
  EXPECT_NEAR(share, report.recall, 0.015);
  for (const auto& [item, list] : found) {
    EXPECT_EQ(list.size(), std::size_t{kNeighbours});
    EXPECT_TRUE(std::ranges::is_sorted(list));
    for (const std::int32_t neighbour : list) {
      EXPECT_NE(neighbour, item);
      EXPECT_NE(neighbour % 3, 1) << "may not be a neighbour";
    }
  }
}

TEST(ApproximateNeighbours, AreTheSameOnAnyNumberOfRanksAndThreads) {
  const at::Tensor features = clustered(kItems);
  const NeighbourOptions options{.search = NeighbourSearch::approximate};
  const auto expected = answers(features, 1, 1, options);
  EXPECT_EQ(answers(features, 1, 3, options), expected);
  for (const int ranks : kRankCounts) {
    EXPECT_EQ(answers(features, ranks, 1 + ranks % 2, options), expected) << ranks << " ranks";
  }
}

TEST(ApproximateNeighbours, OfEqualRowsAreAllFound) {
  // 60 copies of each row: more than an item of a graph has links.
  const at::Tensor features =
      random_matrix(50, 24, 1).index_select(0, at::arange(3000).remainder(50)).contiguous();
  NeighbourSearchReport report;
  const auto found = answers(features, 2, 1, {.search = NeighbourSearch::approximate}, &report);
  EXPECT_FALSE(report.is_exact);
  for (const auto& [item, list] : found) {
    for (const std::int32_t neighbour : list) EXPECT_EQ(neighbour % 50, item % 50) << item;
  }
  EXPECT_EQ(found, answers(features, 1, 1, {.search = NeighbourSearch::exact}));
}

TEST(ApproximateNeighbours, AreGivenUpWhereTheyMissTooMany) {
  const at::Tensor features = clustered(2000);
  NeighbourSearchReport report;
  const auto found = answers(
      features, 3, 1, {.search = NeighbourSearch::approximate, .least_recall = 1.1}, &report);
  EXPECT_TRUE(report.tried_graphs);
  EXPECT_TRUE(report.is_exact);
  EXPECT_EQ(found, answers(features, 1, 1, {.search = NeighbourSearch::exact}));
}

TEST(ApproximateNeighbours, AreSoughtWhereThereAreManyItems) {
  constexpr std::int64_t kMost = kMostSearchedExactly;
  EXPECT_FALSE(is_approximate(NeighbourSearch::automatic, kMost, kMost));
  EXPECT_FALSE(is_approximate(NeighbourSearch::automatic, kMost, 10 * kMost));
  EXPECT_TRUE(is_approximate(NeighbourSearch::automatic, kMost + 1, kMost));
  EXPECT_FALSE(is_approximate(NeighbourSearch::automatic, 10 * kMost, kMost / 10));
  EXPECT_TRUE(is_approximate(NeighbourSearch::automatic, 10 * kMost, kMost / 10 + 1));
  EXPECT_FALSE(is_approximate(NeighbourSearch::exact, 10 * kMost, 10 * kMost));
  EXPECT_TRUE(is_approximate(NeighbourSearch::approximate, 1, 1));
}

TEST(ApproximateNeighbours, AreAnsweredOfFewItemsAndOfNone) {
  const at::Tensor features = clustered(6);  // fewer than graphs, ranks and neighbours
  const NeighbourOptions options{.search = NeighbourSearch::approximate};
  EXPECT_EQ(answers(features, 5, 2, options),
            answers(features, 1, 1, {.search = NeighbourSearch::exact}));
  NeighbourQuestion none = question_of(features, 1);
  none.eligible.assign(6, 0);
  run_ranks(2, [&](Communicator& communicator) {
    const NumberLists found = find_neighbours(none, options, &communicator);
    EXPECT_TRUE(found.values.empty());
  });
}

TEST(ApproximateNeighbours, ArePlannedInMemoryByWhatRanksShare) {
  NeighbourSearchSize size{.search = NeighbourSearch::approximate,
                           .eligible = 1e6,
                           .asked = 1e6,
                           .own = 1e6,
                           .width = 384,
                           .k = 30};
  const double one = most_search_bytes(size);
  EXPECT_GT(one, 1e6 * 384 * 5);  // the rows of all graphs, as floats and as bytes
  EXPECT_LT(one, 1e6 * 384 * 8);
  size.own = 25e4;
  size.ranks = 4;
  const double four = most_search_bytes(size);
  EXPECT_GT(four, 25e4 * 384 * 5);
  EXPECT_LT(four, 0.6 * one);
  size.search = NeighbourSearch::exact;
  EXPECT_GE(most_search_bytes(size), 25e4 * 384 * 4);  // the rows of the queries
}

TEST(ApproximateNeighbours, EveryQueryAsksEveryGraphOnce) {
  for (const int ranks : {1, 2, 3, 4, 5, 8, 11}) {
    std::map<int, std::set<int>> parts_of;  // graph -> parts of queries
    std::map<int, int> parts;
    for (int rank = 0; rank < ranks; ++rank) {
      const GraphShare share = share_of_graphs(rank, ranks, 4);
      for (const int graph : share.graphs) {
        EXPECT_TRUE(parts_of[graph].insert(share.part).second);
        parts[graph] = share.parts;
      }
    }
    ASSERT_EQ(parts_of.size(), 4U);
    for (const auto& [graph, of_graph] : parts_of) {
      EXPECT_EQ(static_cast<int>(of_graph.size()), parts[graph]) << ranks << " ranks";
    }
  }
}

TEST(ApproximateNeighbours, ProductsOfBytesAreExactInEveryInstructionSet) {
  for (const std::int64_t width : {1, 15, 64, 383, 1024}) {
    std::vector<std::int8_t> a, b;
    std::int32_t expected = 0;
    for (std::int64_t c = 0; c < width; ++c) {
      a.push_back(static_cast<std::int8_t>(c * 37 % 255 - 127));
      b.push_back(static_cast<std::int8_t>(c % 3 == 0 ? -127 : c * 91 % 255 - 127));
      expected += static_cast<std::int32_t>(a.back()) * b.back();
    }
    for (const Kernels* const set : supported_kernels()) {
      EXPECT_EQ(set->multiply_bytes(a.data(), b.data(), width), expected) << set->instruction_set;
    }
  }
}

}  // namespace
}  // namespace micrec
