#include "kernels/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Small whole numbers, so that many are equal, or any.
std::vector<float> numbers(std::int64_t count, bool whole, std::uint64_t seed) {
  const Random random(seed, Purpose::synthetic);
  std::vector<float> values(count);
  for (std::size_t n = 0; n < values.size(); ++n) {
    values[n] = whole ? static_cast<float>(random.index(3, n)) - 1
                      : static_cast<float>(random.normal(n)[0]);
  }
  return values;
}

TEST(Scores, HaveTheSameBitsOnEveryInstructionSet) {
  for (const std::int64_t dim : {1, 3, 16, 64, 100}) {
    const std::int64_t user_panels = 3;
    const std::int64_t item_panels = 5;
    const std::vector<float> users = numbers(user_panels * kUserLanes * dim, false, 4);
    const std::vector<float> items = numbers(item_panels * kItemLanes * dim, false, 5);
    for (const Kernels* const kernel : supported_kernels()) {
      SCOPED_TRACE(kernel->instruction_set);
      const std::int64_t stride = item_panels * kItemLanes;
      std::vector<float> scores(user_panels * kUserLanes * stride, std::nanf(""));
      kernel->score_tile(
          {users.data(), user_panels, items.data(), item_panels, dim, scores.data()});
      for (std::int64_t u = 0; u < user_panels * kUserLanes; ++u) {
        const float* user = users.data() + u / kUserLanes * dim * kUserLanes + u % kUserLanes;
        for (std::int64_t i = 0; i < stride; ++i) {
          const float* item = items.data() + i / kItemLanes * dim * kItemLanes + i % kItemLanes;
          float sum = 0;
          for (std::int64_t k = 0; k < dim; ++k) {
            sum = std::fma(user[k * kUserLanes], item[k * kItemLanes], sum);
          }
          const float pair = kernel->score_pair(user, kUserLanes, item, kItemLanes, dim);
          ASSERT_EQ(std::memcmp(&sum, &scores[u * stride + i], sizeof(float)), 0) << u << ' ' << i;
          ASSERT_EQ(std::memcmp(&sum, &pair, sizeof(float)), 0) << u << ' ' << i;
        }
      }
    }
  }
}

TEST(Scores, AreMixedWithOneRoundingAtAnyLength) {
  const std::vector<float> products = numbers(150, false, 20);
  const std::vector<float> sums = numbers(150, false, 21);
  for (const Kernels* const kernel : supported_kernels()) {
    SCOPED_TRACE(kernel->instruction_set);
    for (std::int64_t length = 0; length < 150; ++length) {
      std::vector<float> scores(150, std::nanf(""));
      kernel->mix_scores(products.data(), sums.data(), 0.3F, length, scores.data());
      for (std::int64_t i = 0; i < 150; ++i) {
        ASSERT_EQ(std::isnan(scores[i]), i >= length);
        if (i >= length) continue;
        ASSERT_EQ(scores[i], std::fma(0.3F, sums[i], products[i]));
      }
    }
  }
}

TEST(Scores, AreCountedStrictlyAndNotStrictlyAtAnyLength) {
  const std::vector<float> scores = numbers(200, true, 6);
  for (const Kernels* const kernel : supported_kernels()) {
    SCOPED_TRACE(kernel->instruction_set);
    for (std::int64_t length = 0; length < 150; ++length) {
      for (std::int64_t start = 0; start < 3; ++start) {
        for (const float threshold : {-2.F, -1.F, 0.F, 1.F, 2.F, kInfinity, -kInfinity}) {
          const auto first = scores.begin() + start;
          const auto above =
              std::count_if(first, first + length, [&](float x) { return x > threshold; });
          const auto equal = std::count(first, first + length, threshold);
          ASSERT_EQ(kernel->count_above(&*first, length, threshold), above);
          ASSERT_EQ(kernel->count_at_least(&*first, length, threshold), above + equal);
        }
      }
    }
  }
}

TEST(Scores, OfAllTilesAreThoseOfTheirPairs) {
  constexpr std::int64_t kUsers = 61, kItems = 1050, kDim = 7;
  const std::vector<float> users = numbers(kUsers * kDim, false, 7);
  const std::vector<float> items = numbers(kItems * kDim, false, 8);
  const auto rows_of = [](const std::vector<float>& values) {
    return [&values](std::int64_t row) { return values.data() + row * kDim; };
  };
  const RowPanels user_panels(kUsers, kDim, kUserLanes, rows_of(users));
  const RowPanels item_panels =
      on_threads(3, [&] { return RowPanels(kItems, kDim, kItemLanes, rows_of(items)); });
  std::vector<std::int64_t> seen(kUsers, 0);
  for_each_tile(user_panels, item_panels,
                [&](std::int64_t user, std::int64_t begin, std::int64_t count, float* scores) {
                  ASSERT_EQ(begin, seen[user]);
                  seen[user] += count;
                  for (std::int64_t i = 0; i < count; ++i) {
                    ASSERT_EQ(scores[i],
                              kernels().score_pair(users.data() + user * kDim, 1,
                                                   items.data() + (begin + i) * kDim, 1, kDim));
                  }
                });
  EXPECT_EQ(seen, std::vector<std::int64_t>(kUsers, kItems));
}

TEST(TopK, TakesTheBestAndOfEqualOnesTheSmallerNumbersWhateverTheOrder) {
  constexpr std::int64_t kCount = 300;
  const Random random(9, Purpose::synthetic);
  for (const bool whole : {true, false}) {
    std::vector<float> scores = numbers(kCount, whole, 10);
    for (std::int64_t i = 0; i < kCount; i += 7) scores[i] = TopK::kNever;
    std::vector<std::int32_t> items(kCount);
    for (std::int64_t i = 0; i < kCount; ++i) items[i] = static_cast<std::int32_t>(i);
    for (std::int64_t i = kCount - 1; i > 0; --i) {
      std::swap(items[i], items[random.index(i + 1, i)]);
    }
    std::vector<std::pair<float, std::int32_t>> sorted;  // (-score, item)
    for (std::int64_t i = 0; i < kCount; ++i) {
      if (scores[i] != TopK::kNever) sorted.emplace_back(-scores[i], items[i]);
    }
    std::sort(sorted.begin(), sorted.end());
    for (const std::int64_t k : {1, 5, 64, 1000}) {
      TopK best(k);
      for (std::int64_t begin = 0; begin < kCount; begin += 77) {
        best.offer(scores.data() + begin, items.data() + begin,
                   std::min<std::int64_t>(77, kCount - begin));
      }
      const std::vector<ScoredItem> found = best.take();
      ASSERT_EQ(found.size(), std::min<std::size_t>(k, sorted.size()));
      for (std::size_t n = 0; n < found.size(); ++n) {
        EXPECT_EQ(found[n].item, sorted[n].second);
        EXPECT_EQ(found[n].score, -sorted[n].first);
      }
    }
  }
}

}  // namespace
}  // namespace micrec
