#include "kernels/history_sums.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace micrec {
namespace {

constexpr std::int64_t kRows = 300;
constexpr std::int32_t kSources = 80;

SparseRows make_rows() {
  const Random random(31, Purpose::synthetic);
  SparseRows rows;
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int32_t source = 0; source < kSources; ++source) {
      const std::uint64_t id = r * kSources + source;
      if (r % 6 == 1 || random.index(4, id) > 0) continue;
      rows.column.push_back(source);
      rows.value.push_back(static_cast<float>(random.normal(id, 1)[0]));
    }
    rows.offsets.push_back(static_cast<std::int64_t>(rows.column.size()));
  }
  return rows;
}

/// The numbers below `count` that are divisible, so that some histories end before the sources and
/// some go beyond them.
std::vector<std::int32_t> multiples_of(std::int32_t factor, std::int32_t count) {
  std::vector<std::int32_t> history;
  for (std::int32_t n = 0; n < count; n += factor) history.push_back(n);
  return history;
}

const std::vector<std::vector<std::int32_t>> kHistories = {
    {}, {3}, {kSources + 5}, multiples_of(7, 40), multiples_of(1, kSources + 30)};

/// What each item of a history counts: some more than the others.
std::vector<float> weights_of(const std::vector<std::int32_t>& history) {
  std::vector<float> weights;
  for (const std::int32_t item : history) {
    weights.push_back(1 / (1 + static_cast<float>(item * 7 % 11)));
  }
  return weights;
}

/// One addition for each item of the history, in their order.
float plain_sum(const SparseRows& rows, std::int64_t row, const WeightedHistory& history) {
  float sum = 0;
  for (std::size_t h = 0; h < history.items.size(); ++h) {
    for (std::int64_t n = rows.offsets[row]; n < rows.offsets[row + 1]; ++n) {
      if (rows.column[n] != history.items[h]) continue;
      const volatile float product =  // rounded by itself
          history.weights.empty() ? rows.value[n] : history.weights[h] * rows.value[n];
      sum += product;
    }
  }
  return sum;
}

TEST(HistorySum, AddsOneCoefficientAfterTheOther) {
  const SparseRows rows = make_rows();
  for (const std::vector<std::int32_t>& items : kHistories) {
    const std::vector<float> weights = weights_of(items);
    for (const WeightedHistory& history : {WeightedHistory{items}, {items, weights}}) {
      for (std::int64_t r = 0; r < kRows; ++r) {
        const std::int64_t begin = rows.offsets[r];
        const std::int64_t count = rows.offsets[r + 1] - begin;
        EXPECT_EQ(history_sum(std::span(rows.column).subspan(begin, count),
                              std::span(rows.value).subspan(begin, count), history),
                  plain_sum(rows, r, history));
      }
    }
  }
}

TEST(HistoryWalk, HasTheSameBitsInPartsOfAnySize) {
  const SparseRows rows = make_rows();
  std::vector<std::int32_t> row_of;  // of some rows, in another order
  for (std::int32_t r = kRows - 1; r >= 0; r -= 2) row_of.push_back(r);
  const auto positions = static_cast<std::int64_t>(row_of.size());
  const SourceRows sources(rows, row_of);
  HistoryWalk walk;
  for (std::size_t n = 0; n < 2 * kHistories.size(); ++n) {
    const std::vector<std::int32_t>& items = kHistories[n / 2];
    const std::vector<float> weights = weights_of(items);
    WeightedHistory history = {items};
    if (n % 2 == 1) history.weights = weights;
    for (const std::int64_t part : {1, 7, 64, 1000}) {
      walk.start(sources, history);
      for (std::int64_t begin = 0; begin < positions; begin += part) {
        const std::int64_t end = std::min(positions, begin + part);
        std::vector<float> sums(end - begin, 1e9F);
        walk.next(begin, end, sums.data());
        for (std::int64_t p = begin; p < end; ++p) {
          EXPECT_EQ(sums[p - begin], plain_sum(rows, row_of[p], history)) << p;
        }
      }
    }
  }
}

TEST(SourceRows, ListPositionsRisingAndNoneBeyondTheLastSource) {
  const SparseRows rows = {{0, 2, 2, 3}, {1, 4, 4}, {0.5F, 2, 3}};
  const SourceRows sources(rows, std::vector<std::int32_t>{2, 1, 0});
  EXPECT_TRUE(sources.of(0).empty());
  ASSERT_EQ(sources.of(1).size(), 1U);
  EXPECT_EQ(sources.of(1)[0].position, 2);
  EXPECT_EQ(sources.of(1)[0].value, 0.5F);
  ASSERT_EQ(sources.of(4).size(), 2U);
  EXPECT_EQ(sources.of(4)[0].position, 0);
  EXPECT_EQ(sources.of(4)[0].value, 3);
  EXPECT_EQ(sources.of(4)[1].position, 2);
  EXPECT_EQ(sources.of(4)[1].value, 2);
  EXPECT_TRUE(sources.of(5).empty());
  EXPECT_TRUE(SourceRows().of(0).empty());
}

}  // namespace
}  // namespace micrec
