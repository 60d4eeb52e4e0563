#include "evaluate/ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "tests/evaluate/ranking_world.h"
#include "tests/support/expect_error.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Candidates, AreByGroupAndThenByNumber) {
  const World world(1, 100, 4, 3, false);
  const Candidates candidates = world.candidates(20, 90);
  EXPECT_EQ(candidates.group_begin(0), 0);
  EXPECT_EQ(candidates.group_begin(3), candidates.size());
  std::int64_t found = 0;
  for (std::int32_t item = 0; item < 100; ++item) {
    const std::int64_t position = candidates.position_of(item);
    const bool inside = item >= 20 && item < 90 && world.group[item] != Candidates::kExcluded;
    ASSERT_EQ(position >= 0, inside) << item;
    if (!inside) continue;
    ++found;
    EXPECT_EQ(candidates.numbers()[position], item);
    const int group = world.group[item];
    EXPECT_GE(position, candidates.group_begin(group));
    EXPECT_LT(position, candidates.group_begin(group + 1));
    for (std::int64_t k = 0; k < 4; ++k) {
      EXPECT_EQ(candidates.rows().columns_of(position)[k * kItemLanes], world.item(item)[k]);
    }
  }
  EXPECT_EQ(found, candidates.size());
  for (int group = 0; group < 3; ++group) {
    for (std::int64_t p = candidates.group_begin(group) + 1; p < candidates.group_begin(group + 1);
         ++p) {
      EXPECT_LT(candidates.numbers()[p - 1], candidates.numbers()[p]);
    }
  }
}

TEST(CountAhead, EqualsSortingAllScores) {
  for (const bool whole : {true, false}) {
    for (const int groups : {1, 3}) {
      for (const std::int64_t items : {1, 31, 32, 33, 256, 257, 700}) {
        for (const std::int64_t users : {0, 1, 13, 24, 60}) {
          SCOPED_TRACE(testing::Message() << "whole " << whole << ", groups " << groups
                                          << ", items " << items << ", users " << users);
          const World world(users, items, whole ? 5 : 16, groups, whole);
          const std::vector<std::int32_t> ahead = world.count(1, items);
          for (std::int64_t u = 0; u < users; ++u) {
            for (int g = 0; g < groups; ++g) {
              const std::vector<ScoredItem> sorted = world.sorted(u, g);
              for (std::int64_t p = world.positives.offsets[u]; p < world.positives.offsets[u + 1];
                   ++p) {
                const std::int32_t item = world.positives.values[p];
                const float score = plain_score(world.user(u), world.item(item), world.dim);
                const auto before =
                    std::count_if(sorted.begin(), sorted.end(), [&](const ScoredItem& other) {
                      return other.score > score || (other.score == score && other.item < item);
                    });
                ASSERT_EQ(ahead[p * groups + g], before) << "user " << u << " item " << item;
              }
            }
          }
        }
      }
    }
  }
}

TEST(CountAhead, EqualsSortingAllScoresOfEveryMixAtOnce) {
  for (const bool whole : {true, false}) {
    for (const std::int64_t items : {1, 33, 700}) {
      for (const std::int64_t users : {1, 24, 60}) {
        SCOPED_TRACE(testing::Message()
                     << "whole " << whole << ", items " << items << ", users " << users);
        const World world(users, items, whole ? 5 : 16, 3, whole);
        const std::vector<std::int32_t> ahead = world.count(1, items, kOneOfEach);
        const std::size_t pairs = world.positives.values.size();
        for (std::size_t m = 0; m < kOneOfEach.size(); ++m) {
          for (std::int64_t u = 0; u < users; ++u) {
            for (int g = 0; g < world.groups; ++g) {
              const std::vector<ScoredItem> sorted = world.sorted(u, g, kOneOfEach[m]);
              for (std::int64_t p = world.positives.offsets[u]; p < world.positives.offsets[u + 1];
                   ++p) {
                const std::int32_t item = world.positives.values[p];
                const float score = world.score(u, item, kOneOfEach[m]);
                const auto before =
                    std::count_if(sorted.begin(), sorted.end(), [&](const ScoredItem& other) {
                      return other.score > score || (other.score == score && other.item < item);
                    });
                ASSERT_EQ(ahead[(m * pairs + p) * world.groups + g], before)
                    << "mix " << m << " user " << u << " item " << item;
              }
            }
          }
        }
        const auto alone = world.count(1, items, std::span(kOneOfEach).subspan(1, 1));
        EXPECT_TRUE(std::equal(alone.begin(), alone.end(), ahead.begin() + pairs * world.groups))
            << "a mix ranks otherwise beside others";
      }
    }
  }
}

TEST(CountAhead, TakesTheLinearTermWithoutEmbeddings) {
  const World world(60, 700, 4, 1, false);
  const ScoreMix alone[] = {{.embeddings = false, .regression = 1}};
  World without = world;
  without.dim = 0;
  without.user_rows.clear();
  without.item_rows.clear();
  EXPECT_EQ(without.count(2, 700, alone), world.count(1, 700, alone));
}

TEST(ScorePairs, GivesTheBitsThatListsHave) {
  const World world(60, 700, 16, 1, false);
  const Candidates candidates = world.candidates(0, 700);
  NumberLists everything;
  for (std::int64_t u = 0; u < world.users; ++u) {
    for (std::int32_t i = 0; i < world.items; ++i) everything.values.push_back(i);
    everything.offsets.push_back(static_cast<std::int64_t>(everything.values.size()));
  }
  const NumberLists nothing = {std::vector<std::int64_t>(world.users + 1, 0), {}};
  for (const ScoreMix& mix : kOneOfEach) {
    std::vector<float> scores(everything.values.size());
    on_threads(2, [&] { score_pairs(candidates, world.people(), everything, {&mix, 1}, scores); });
    const auto lists = top_k(candidates, world.people(), nothing, mix, world.items);
    for (std::int64_t u = 0; u < world.users; ++u) {
      ASSERT_EQ(static_cast<std::int64_t>(lists[u].size()), world.items);
      for (const ScoredItem& listed : lists[u]) {
        ASSERT_EQ(listed.score, scores[u * world.items + listed.item]);
        ASSERT_EQ(listed.score, world.score(u, listed.item, mix));
      }
    }
  }
}

TEST(CountAhead, IsTheSameInPartsAndOnAnyNumberOfThreads) {
  const World world(500, 700, 8, 3, true);
  const std::vector<std::int32_t> whole = world.count(1, world.items);
  EXPECT_GT(std::accumulate(whole.begin(), whole.end(), std::int64_t{0}), 0);
  for (const int threads : {1, 2, 3, 8}) {
    EXPECT_EQ(world.count(threads, world.items), whole) << threads;
    EXPECT_EQ(world.count(threads, 100), whole) << threads;
  }
  EXPECT_EQ(world.count(1, 7), whole);
  const std::vector<std::int32_t> mixed = world.count(1, world.items, kOneOfEach);
  for (const int threads : {1, 2, 3, 4}) {
    EXPECT_EQ(world.count(threads, 100, kOneOfEach), mixed) << threads;
  }
}

TEST(CountAhead, RanksALonePositiveFirst) {
  World world(1, 300, 6, 1, false);
  world.positives = {{0, 1}, {217}};
  world.masked = {{0, 299}, {}};
  for (std::int32_t i = 0; i < 300; ++i) {
    if (i != 217) world.masked.values.push_back(i);
  }
  EXPECT_EQ(world.count(1, 300), std::vector<std::int32_t>{0});
}

TEST(CountAhead, GivesTiesToTheSmallerNumber) {
  World world(1, 100, 4, 1, false);
  std::fill(world.item_rows.begin(), world.item_rows.end(), 1.F);
  world.positives = {{0, 4}, {0, 40, 41, 99}};
  world.masked = {{0, 2}, {3, 50}};
  EXPECT_EQ(world.count(1, 100), (std::vector<std::int32_t>{0, 39, 40, 97}));
}

TEST(CountAhead, RefusesScoresWithoutOrder) {
  for (const float bad : {std::nanf(""), kInfinity, -kInfinity, 3e38F}) {
    World world(30, 50, 4, 1, false);
    world.item_rows[world.dim * 17 + 2] = bad;
    EXPECT_THROW(world.count(1, 50), Error) << bad;
    World other(30, 50, 4, 1, false);
    other.user_rows[other.dim * 17 + 2] = bad;
    EXPECT_THROW(other.count(2, 50), Error) << bad;
    expect_error(Cause::diverged, {},
                 [&] { top_k(other.candidates(0, 50), other.people(), other.masked, {}, 3); });
    World third(30, 50, 4, 1, false);
    third.coefficients.value[3] = bad;
    EXPECT_THROW(third.count(1, 50, kOneOfEach), Error) << bad;
    EXPECT_NO_THROW(third.count(1, 50)) << "the product alone does not take coefficients";
    const World sound(30, 50, 4, 1, false);
    const ScoreMix mix[] = {{.embeddings = true, .regression = bad}};
    EXPECT_THROW(sound.count(1, 50, mix), Error) << bad;
  }
}

TEST(TopK, EqualsSortingAllScores) {
  for (const bool whole : {true, false}) {
    for (const std::int64_t items : {1, 33, 256, 700}) {
      for (const std::int64_t users : {0, 1, 25, 60}) {
        const World world(users, items, 5, 3, whole);
        for (const std::int64_t k : {1, 10, 1000}) {
          for (const int threads : {1, 3}) {
            const auto lists = on_threads(threads, [&] {
              return top_k(world.candidates(0, items), world.people(), world.masked, {}, k);
            });
            ASSERT_EQ(static_cast<std::int64_t>(lists.size()), users);
            for (std::int64_t u = 0; u < users; ++u) {
              const std::vector<ScoredItem> sorted = world.sorted(u);
              const std::int64_t length = std::min<std::int64_t>(k, sorted.size());
              ASSERT_EQ(static_cast<std::int64_t>(lists[u].size()), length);
              for (std::int64_t n = 0; n < length; ++n) {
                ASSERT_EQ(lists[u][n].item, sorted[n].item);
                ASSERT_EQ(lists[u][n].score, sorted[n].score);
              }
            }
          }
        }
      }
    }
  }
}

TEST(TopK, EqualsSortingAllScoresOfAMix) {
  for (const bool whole : {true, false}) {
    const World world(60, 700, 5, 3, whole);
    for (const ScoreMix& mix : kOneOfEach) {
      const auto lists = on_threads(2, [&] {
        return top_k(world.candidates(0, 700), world.people(), world.masked, mix, 25);
      });
      for (std::int64_t u = 0; u < world.users; ++u) {
        const std::vector<ScoredItem> sorted = world.sorted(u, -1, mix);
        const std::size_t length = std::min<std::size_t>(25, sorted.size());
        ASSERT_EQ(lists[u].size(), length);
        for (std::size_t n = 0; n < length; ++n) {
          ASSERT_EQ(lists[u][n].item, sorted[n].item);
          ASSERT_EQ(lists[u][n].score, sorted[n].score);
        }
      }
    }
  }
}

TEST(TopK, HasTheBestOfTheItemsThatAreAllowed) {
  const World world(60, 700, 5, 3, true);
  std::vector<std::uint8_t> allowed;
  for (std::uint64_t i = 0; i < 700; ++i) {
    allowed.push_back(Random(9, Purpose::synthetic).index(3, i) == 0);
  }
  for (const ScoreMix& mix : kOneOfEach) {
    const auto lists = on_threads(2, [&] {
      return top_k(world.candidates(0, 700), world.people(), world.masked, mix, 25, allowed);
    });
    for (std::int64_t u = 0; u < world.users; ++u) {
      std::vector<ScoredItem> sorted = world.sorted(u, -1, mix);
      std::erase_if(sorted, [&](const ScoredItem& item) { return allowed[item.item] == 0; });
      const std::size_t length = std::min<std::size_t>(25, sorted.size());
      ASSERT_EQ(lists[u].size(), length);
      for (std::size_t n = 0; n < length; ++n) {
        ASSERT_EQ(lists[u][n].item, sorted[n].item);
        ASSERT_EQ(lists[u][n].score, sorted[n].score);
      }
    }
  }
}

TEST(TopK, IsEmptyWhereEverythingIsMasked) {
  World world(1, 40, 3, 1, false);
  world.masked = {{0, 40}, {}};
  for (std::int32_t i = 0; i < 40; ++i) world.masked.values.push_back(i);
  EXPECT_TRUE(top_k(world.candidates(0, 40), world.people(), world.masked, {}, 5).front().empty());
}

TEST(LargestRowNorm, IsOfTheLongestRow) {
  const std::vector<float> rows = {3, 4, 0, 0, -6, 8, 1, 1};
  EXPECT_DOUBLE_EQ(largest_row_norm(rows, 2), 10);
  EXPECT_DOUBLE_EQ(largest_row_norm({}, 2), 0);
  EXPECT_NO_THROW(refuse_infinite_scores(1e18, 1e18));
  EXPECT_THROW(refuse_infinite_scores(1e20, 1e20), Error);
  EXPECT_THROW(refuse_infinite_scores(HUGE_VAL, 0), Error);
}

}  // namespace
}  // namespace micrec
