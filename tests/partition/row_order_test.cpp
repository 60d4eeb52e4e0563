#include "partition/row_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/random.h"
#include "tests/partition/random_world.h"

namespace micrec {
namespace {

void expect_permutation(std::vector<std::int32_t> order, std::int64_t rows) {
  std::vector<std::int32_t> all(rows);
  std::iota(all.begin(), all.end(), 0);
  std::ranges::sort(order);
  EXPECT_EQ(order, all);
}

// Of how many reads the column is none of the `cached` ones that were read last.
double share_of_misses(const Adjacency& graph, const std::vector<std::int32_t>& order,
                       std::int64_t cached) {
  std::vector<std::int64_t> last_read(graph.nodes(), -1);
  std::set<std::pair<std::int64_t, std::int32_t>> held;  // by time of the last read
  std::int64_t time = 0, misses = 0;
  for (const std::int32_t row : order) {
    for (const std::int32_t column : graph.of(row)) {
      misses += static_cast<std::int64_t>(held.erase({last_read[column], column}) == 0);
      held.emplace(last_read[column] = time++, column);
      if (static_cast<std::int64_t>(held.size()) > cached) held.erase(held.begin());
    }
  }
  return static_cast<double>(misses) / static_cast<double>(graph.nonzeros());
}

TEST(RowOrder, PutsRowsThatShareColumnsTogether) {
  RandomWorldOptions options;
  options.users = options.items = 4000;
  options.interactions = 60'000;
  options.tastes = 20;  // numbered in turns, so that neighbours in number share nothing
  const Adjacency graph = make_random_world(options).graph;
  const std::vector<std::int32_t> order =
      order_of_near_rows(graph.offsets, graph.values, graph.nodes());
  expect_permutation(order, graph.nodes());
  std::vector<std::int32_t> by_number(graph.nodes());
  std::iota(by_number.begin(), by_number.end(), 0);
  constexpr std::int64_t kCached = 800;
  EXPECT_LT(share_of_misses(graph, order, kCached),
            0.5 * share_of_misses(graph, by_number, kCached));
  EXPECT_EQ(order_of_near_rows(graph.offsets, graph.values, graph.nodes()), order);
}

TEST(RowOrder, KnowsColumnsThatAreNoRows) {
  // Rows n and n + 30 share three columns with nobody else, and those are not rows.
  constexpr std::int64_t kRows = 60;
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int32_t> columns;
  for (std::int32_t row = 0; row < kRows; ++row) {
    for (std::int32_t c = 0; c < 3; ++c) columns.push_back(kRows + row % 30 * 3 + c);
    offsets.push_back(static_cast<std::int64_t>(columns.size()));
  }
  const std::vector<std::int32_t> order = order_of_near_rows(offsets, columns, kRows + 90);
  expect_permutation(order, kRows);
  for (std::int64_t i = 0; i < kRows; i += 2) {
    EXPECT_EQ(order[i] % 30, order[i + 1] % 30) << "at " << i;
  }
}

TEST(RowOrder, TakesMatricesWithLittleInThem) {
  EXPECT_TRUE(order_of_near_rows({0}, {}, 0).empty());
  EXPECT_TRUE(order_of_near_rows({0}, {}, 5).empty());
  expect_permutation(order_of_near_rows({0, 0, 0, 0}, {}, 3), 3);
  expect_permutation(order_of_near_rows({0, 1, 1}, {1}, 2), 2);
}

}  // namespace
}  // namespace micrec
