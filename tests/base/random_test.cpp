#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

namespace micrec {
namespace {

constexpr std::uint64_t kAllBits = std::numeric_limits<std::uint64_t>::max();

// The known answers that the authors of Philox publish for zeros and for all bits set.
TEST(Random, IsPhilox) {
  const std::array<std::uint32_t, 4> zeros = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(Random(0, Purpose(0), 0).bits(0, 0), zeros);
  const std::array<std::uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  EXPECT_EQ(Random(kAllBits, Purpose(0xFFFF), 0xFFFFFFFF).bits(kAllBits, 0xFFFF), ones);
}

TEST(Random, FirstWordsOfManyAreThoseOfEach) {
  const Random random(kAllBits - 5, Purpose::split, 7);
  std::vector<std::uint64_t> words;
  for (std::uint64_t i = 0; i < 11; ++i) words.push_back(i * 0x9E3779B97F4A7C15);
  const std::vector<std::uint64_t> ids = words;
  random.first_words(words.data(), words.size(), 3);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto bits = random.bits(ids[i], 3);
    EXPECT_EQ(words[i], static_cast<std::uint64_t>(bits[0]) << 32 | bits[1]) << i;
  }
}

TEST(Random, EveryArgumentChangesTheBits) {
  std::set<std::array<std::uint32_t, 4>> seen;
  seen.insert(Random(1, Purpose::split, 1).bits(1, 1));
  seen.insert(Random(2, Purpose::split, 1).bits(1, 1));
  seen.insert(Random(1 + (std::uint64_t{1} << 32), Purpose::split, 1).bits(1, 1));
  seen.insert(Random(1, Purpose::hold_out, 1).bits(1, 1));
  seen.insert(Random(1, Purpose::split, 2).bits(1, 1));
  seen.insert(Random(1, Purpose::split, 1).bits(2, 1));
  seen.insert(Random(1, Purpose::split, 1).bits(1 + (std::uint64_t{1} << 32), 1));
  seen.insert(Random(1, Purpose::split, 1).bits(1, 2));
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_EQ(Random(1, Purpose::split, 1).bits(1, 1), Random(1, Purpose::split, 1).bits(1, 1));
}

TEST(Random, UniformFillsItsIntervalEvenly) {
  const Random random(5, Purpose::synthetic);
  constexpr int kDraws = 200'000, kBins = 50;
  std::vector<int> bins(kBins);
  double sum = 0;
  for (int n = 0; n < kDraws; ++n) {
    const double u = random.uniform(n);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    ++bins[static_cast<int>(u * kBins)];
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  double chi_squared = 0;
  const double expected = static_cast<double>(kDraws) / kBins;
  for (const int count : bins) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_squared, 100);  // 49 degrees of freedom: mean 49, deviation 10
}

TEST(Random, ConsecutiveNumbersAreUncorrelated) {
  const Random random(6, Purpose::synthetic);
  constexpr int kDraws = 100'000;
  double ids = 0, draws = 0;
  for (int n = 0; n < kDraws; ++n) {
    const double centred = random.uniform(n) - 0.5;
    ids += centred * (random.uniform(n + 1) - 0.5);
    draws += centred * (random.uniform(n, 1) - 0.5);
  }
  const double bound = 5.0 / 12 / std::sqrt(kDraws);
  EXPECT_NEAR(ids / kDraws, 0, bound);
  EXPECT_NEAR(draws / kDraws, 0, bound);
}

TEST(Random, IndexIsEvenAndInRangeAtAwkwardSizes) {
  const Random random(7, Purpose::negatives);
  for (const std::uint64_t size : {1U, 2U, 3U, 7U, 100U}) {
    std::vector<int> count(size);
    const int draws = 3000 * static_cast<int>(size);
    for (int n = 0; n < draws; ++n) {
      const std::uint64_t index = random.index(size, n, 3);
      ASSERT_LT(index, size);
      ++count[index];
    }
    for (const int c : count) EXPECT_NEAR(c, 3000, 6 * std::sqrt(3000.0)) << size;
  }
  std::uint64_t highest = 0;
  for (int n = 0; n < 1000; ++n) highest = std::max(highest, random.index(kAllBits, n));
  EXPECT_GT(highest, kAllBits - kAllBits / 100);
}

TEST(Random, NormalHasTheMomentsOfTheNormalDistribution) {
  const Random random(8, Purpose::initial_values);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0, fourth = 0, product = 0;
  int beyond_two = 0;
  for (int n = 0; n < kDraws; ++n) {
    const auto pair = random.normal(n);
    product += pair[0] * pair[1];
    for (const double x : pair) {
      ASSERT_TRUE(std::isfinite(x));
      sum += x;
      squares += x * x;
      fourth += x * x * x * x;
      beyond_two += std::abs(x) > 2;
    }
  }
  constexpr double kNumbers = 2.0 * kDraws;
  EXPECT_NEAR(sum / kNumbers, 0, 5 / std::sqrt(kNumbers));
  EXPECT_NEAR(squares / kNumbers, 1, 5 * std::sqrt(2 / kNumbers));
  EXPECT_NEAR(fourth / kNumbers, 3, 5 * std::sqrt(96 / kNumbers));
  EXPECT_NEAR(product / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(beyond_two / kNumbers, 0.0455, 5 * std::sqrt(0.0455 / kNumbers));
}

TEST(Permutation, IsABijectionWithItsInverse) {
  for (const std::uint64_t size : {1U, 2U, 3U, 4U, 5U, 7U, 8U, 9U, 63U, 64U, 65U, 1000U, 4097U}) {
    const Permutation permutation(size, 3, Purpose::permutation, 2);
    std::vector<char> seen(size);
    for (std::uint64_t position = 0; position < size; ++position) {
      const std::uint64_t number = permutation.at(position);
      ASSERT_LT(number, size);
      EXPECT_FALSE(seen[number]) << size;
      seen[number] = 1;
      EXPECT_EQ(permutation.position_of(number), position);
    }
  }
}

TEST(Permutation, InvertsAtSizesTooLargeToWalkThrough) {
  for (const std::uint64_t size : {(std::uint64_t{1} << 32) + 1, std::uint64_t{10'000'000'019}}) {
    const Permutation permutation(size, 4, Purpose::permutation);
    for (std::uint64_t n = 0; n < 1000; ++n) {
      const std::uint64_t position = n * (size / 1000);
      ASSERT_LT(permutation.at(position), size);
      EXPECT_EQ(permutation.position_of(permutation.at(position)), position);
    }
  }
}

TEST(Permutation, DiffersByTimeAndLeavesNoPlaceAlone) {
  constexpr std::uint64_t kSize = 1000;
  const Permutation first(kSize, 5, Purpose::permutation, 0);
  const Permutation second(kSize, 5, Purpose::permutation, 1);
  int same = 0, fixed = 0;
  for (std::uint64_t n = 0; n < kSize; ++n) {
    same += first.at(n) == second.at(n);
    fixed += first.at(n) == n;
  }
  EXPECT_LT(same, 10);
  EXPECT_LT(fixed, 10);
}

// Where a number lands must be even over many permutations, or epochs would favour some
// interactions.
TEST(Permutation, EveryPlaceIsAboutAsLikely) {
  constexpr std::uint64_t kSize = 10;
  constexpr int kTimes = 20'000;
  std::vector<std::vector<int>> count(kSize, std::vector<int>(kSize));
  for (std::uint32_t time = 0; time < kTimes; ++time) {
    const Permutation permutation(kSize, 9, Purpose::permutation, time);
    for (std::uint64_t n = 0; n < kSize; ++n) ++count[n][permutation.at(n)];
  }
  for (const std::vector<int>& places : count) {
    for (const int c : places) EXPECT_NEAR(c, kTimes / 10, 6 * std::sqrt(kTimes * 0.09));
  }
}

TEST(Mix, IsOneToOneAndSpreadsOneBit) {
  std::set<std::uint32_t> seen;
  double changed = 0;
  for (std::uint32_t n = 0; n < 10'000; ++n) {
    seen.insert(mix(n));
    changed += __builtin_popcount(mix(n) ^ mix(n ^ 1U));
  }
  EXPECT_EQ(seen.size(), 10'000U);
  EXPECT_NEAR(changed / 10'000, 16, 0.5);
}

}  // namespace
}  // namespace micrec
