#include "data/split_rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "data/dataset_format.h"
#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

PreparedDataset split_world(const std::string& rule, std::uint64_t seed = 0) {
  PreparationOptions options;
  options.split = parse_split_rule(rule);
  options.seed = seed;
  return prepare_quietly(random_world(), options);
}

/// Indices of each user's interactions.
std::map<int, std::vector<int>> histories(const PreparedDomain& domain) {
  std::map<int, std::vector<int>> history;
  for (int i = 0; i < domain.interactions(); ++i) history[domain.user[i]].push_back(i);
  return history;
}

SplitCounts count(const PreparedDomain& domain, const std::vector<int>& history) {
  SplitCounts counts;
  for (const int i : history) {
    counts.valid += domain.split[i] == Split::valid ? 1 : 0;
    counts.test += domain.split[i] == Split::test ? 1 : 0;
  }
  return counts;
}

TEST(SplitRule, ReadsWhatItWrites) {
  for (const char* rule : {"ratio:8:1:1", "ratio:7:1:2", "time:8:0:2", "global_time:0.8:0.1:0.1",
                           "leave_one_out", "files"}) {
    EXPECT_EQ(parse_split_rule(rule).to_string(), rule);
  }
  EXPECT_EQ(parse_split_rule("ratio").to_string(), "ratio:8:1:1");
}

TEST(SplitRule, RefusesWhatItCannotRead) {
  for (const char* wrong :
       {"", "ratoi:8:1:1", "ratio:8:1", "ratio:8:1:1:1", "ratio:0:1:1", "ratio:8:-1:1",
        "ratio:8:x:1", "leave_one_out:1:1:1", "ratio:inf:1:1", "ratio:1e308:1e308:1"}) {
    expect_error(Cause::usage, {"--split", "expected"}, [&] { parse_split_rule(wrong); });
  }
  expect_error(Cause::usage, {"did you mean ratio?"}, [] { parse_split_rule("ratoi"); });
}

TEST(SplitCounts, FollowTheRule) {
  const auto check = [](const char* rule, std::int64_t n, std::int64_t valid, std::int64_t test) {
    const SplitCounts counts = split_counts(parse_split_rule(rule), n);
    EXPECT_EQ(counts.valid, valid) << rule << " of " << n;
    EXPECT_EQ(counts.test, test) << rule << " of " << n;
  };
  for (const std::int64_t n : {0, 1, 2}) check("ratio:8:1:1", n, 0, 0);
  check("ratio:8:1:1", 3, 1, 1);
  check("ratio:8:1:1", 19, 1, 1);
  check("ratio:8:1:1", 20, 2, 2);
  check("ratio:0.8:0.1:0.1", 20, 2, 2);
  check("ratio:0.8:0.1:0.1", 10, 1, 1);
  check("ratio:7:1:2", 10, 1, 2);
  check("ratio:8:0:2", 10, 0, 2);
  check("ratio:9:1:0", 10, 1, 0);
  check("ratio:1:1:100", 3, 1, 1);
  check("ratio:1:100:1", 4, 2, 1);
  check("leave_one_out", 3, 1, 1);
  check("leave_one_out", 2, 0, 0);
  check("leave_one_out", 500, 1, 1);
  const SplitRule rule = parse_split_rule("ratio:1:3:9");
  for (std::int64_t n = 3; n < 200; ++n) {
    const SplitCounts counts = split_counts(rule, n);
    EXPECT_GE(counts.valid, 1);
    EXPECT_GE(counts.test, 1);
    EXPECT_LE(counts.valid + counts.test, n - 1);
  }
}

TEST(RatioSplit, GivesEveryUserTheCountsOfTheRule) {
  for (const char* rule : {"ratio:8:1:1", "ratio:5:2:3"}) {
    for (const PreparedDomain& domain : split_world(rule).domains) {
      for (const auto& [user, history] : histories(domain)) {
        const SplitCounts expected =
            split_counts(parse_split_rule(rule), static_cast<std::int64_t>(history.size()));
        const SplitCounts counts = count(domain, history);
        EXPECT_EQ(counts.valid, expected.valid) << user;
        EXPECT_EQ(counts.test, expected.test) << user;
      }
    }
  }
}

TEST(RatioSplit, DependsOnTheSeedAndOnNothingElse) {
  const PreparedDataset first = split_world("ratio:8:1:1", 5);
  const PreparedDataset again = split_world("ratio:8:1:1", 5);
  const PreparedDataset other = split_world("ratio:8:1:1", 6);
  EXPECT_EQ(first.domains[0].split, again.domains[0].split);
  EXPECT_NE(first.domains[0].split, other.domains[0].split);

  // Another order of the domains and of their lines.
  std::vector<RawDomain> turned;
  auto tools = random_events("tools", 90, 80, 700, 2);
  auto food = random_events("food", 120, 60, 900, 1);
  std::reverse(food.begin(), food.end());
  turned.push_back(raw_domain("tools", tools));
  turned.push_back(raw_domain("food", food));
  PreparationOptions options;
  options.seed = 5;
  const PreparedDataset second = prepare_quietly(std::move(turned), options);
  EXPECT_EQ(second.domains[1].split, first.domains[0].split);
  EXPECT_EQ(second.domains[0].split, first.domains[1].split);
}

TEST(RatioSplit, ChoosesEveryPlaceEquallyOften) {
  std::vector<Event> events;
  for (int i = 0; i < 10; ++i) events.push_back({"u", text("i", i)});
  int chosen[10] = {};
  constexpr int kSeeds = 4000;
  for (int seed = 0; seed < kSeeds; ++seed) {
    PreparationOptions options;
    options.seed = seed;
    std::vector<RawDomain> raw;
    raw.push_back(raw_domain("d", events));
    const PreparedDataset dataset = prepare_quietly(std::move(raw), options);
    for (int i = 0; i < 10; ++i) {
      if (dataset.domains[0].split[i] == Split::test) ++chosen[i];
    }
  }
  double chi_square = 0;
  for (const int count : chosen) {
    const double expected = kSeeds / 10.0;
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 27.9);  // 9 degrees of freedom, one in a thousand
}

TEST(TimeSplit, PutsTheLatestIntoTest) {
  for (const char* rule : {"time:8:1:1", "time:2:1:1", "leave_one_out"}) {
    for (const PreparedDomain& domain : split_world(rule).domains) {
      for (auto& [user, history] : histories(domain)) {
        const SplitCounts expected =
            split_counts(parse_split_rule(rule), static_cast<std::int64_t>(history.size()));
        std::vector<int> by_time = history;
        std::stable_sort(by_time.begin(), by_time.end(),
                         [&](int a, int b) { return domain.timestamp[a] < domain.timestamp[b]; });
        for (std::int64_t place = 0; place < static_cast<std::int64_t>(by_time.size()); ++place) {
          const std::int64_t from_end = static_cast<std::int64_t>(by_time.size()) - 1 - place;
          const Split split = from_end < expected.test                    ? Split::test
                              : from_end < expected.test + expected.valid ? Split::valid
                                                                          : Split::train;
          EXPECT_EQ(domain.split[by_time[place]], split) << rule << ", user " << user;
        }
      }
    }
  }
}

TEST(GlobalTimeSplit, CutsAllDomainsAtTheSamePointsInTime) {
  const PreparedDataset dataset = split_world("global_time:7:1:2");
  std::int64_t counts[4] = {};
  std::int64_t last[4] = {-1, -1, -1, -1};
  std::int64_t first[4] = {10'000, 10'000, 10'000, 10'000};
  std::int64_t all = 0;
  for (const PreparedDomain& domain : dataset.domains) {
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      const int split = static_cast<int>(domain.split[i]);
      ++counts[split];
      ++all;
      last[split] = std::max(last[split], domain.timestamp[i]);
      first[split] = std::min(first[split], domain.timestamp[i]);
    }
  }
  EXPECT_LT(last[0], first[1]);
  EXPECT_LT(last[1], first[2]);
  EXPECT_NEAR(static_cast<double>(counts[0]) / static_cast<double>(all), 0.7, 0.01);
  EXPECT_NEAR(static_cast<double>(counts[1]) / static_cast<double>(all), 0.1, 0.01);
  EXPECT_NEAR(static_cast<double>(counts[2]) / static_cast<double>(all), 0.2, 0.01);
}

TEST(GlobalTimeSplit, WithoutATestShareHasNoTest) {
  for (const PreparedDomain& domain : split_world("global_time:9:1:0").domains) {
    EXPECT_EQ(domain.interactions(Split::test), 0);
    EXPECT_GT(domain.interactions(Split::valid), 0);
  }
}

TEST(GlobalTimeSplit, RefusesADomainThatBeginsAfterTheCut) {
  std::vector<RawDomain> raw;
  std::vector<Event> early;
  for (int i = 0; i < 90; ++i) early.push_back({text("u", i % 9), text("a", i / 9), i});
  raw.push_back(raw_domain("early", early));
  raw.push_back(raw_domain("late", {{"u1", "b1", 5000}, {"u2", "b2", 5001}}));
  PreparationOptions options;
  options.split = parse_split_rule("global_time:8:1:1");
  expect_error(Cause::data, {"late", "before time", "--split=time"},
               [&] { prepare_quietly(std::move(raw), options); });
}

TEST(TimeSplits, AreRefusedWithoutTimestamps) {
  for (const char* rule : {"time:8:1:1", "global_time:8:1:1", "leave_one_out"}) {
    std::vector<RawDomain> raw = random_world();
    raw.push_back(raw_domain("bare", random_events("bare", 10, 10, 50, 3), false));
    PreparationOptions options;
    options.split = parse_split_rule(rule);
    expect_error(Cause::data, {rule, "bare", "--columns"},
                 [&] { prepare_quietly(std::move(raw), options); });
  }
}

}  // namespace
}  // namespace micrec
