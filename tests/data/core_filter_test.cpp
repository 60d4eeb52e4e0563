#include "data/core_filter.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"
#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(CoreRule, ReadsWhatItWrites) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"5", "5"},
      {"user:5,item:3", "user:5,item:3"},
      {"item:4", "user:1,item:4"},
      {"kitchen/item:3,5", "5,kitchen/user:5,kitchen/item:3"},
      {"kitchen/7", "kitchen/user:7,kitchen/item:7"},
      {"1", ""},
      {"0", ""},
      {"user:0,item:3", "user:1,item:3"},
      {"5,kitchen/0", "5,kitchen/user:1,kitchen/item:1"},
  };
  for (const auto& [written, normal] : cases) {
    const CoreRule rule = parse_core_rule(written);
    EXPECT_EQ(rule.to_string(), normal) << written;
    EXPECT_EQ(parse_core_rule(rule.to_string()).to_string(), normal);
  }
  const CoreRule rule = parse_core_rule("5,kitchen/item:3");
  EXPECT_EQ(rule.of("food").user, 5);
  EXPECT_EQ(rule.of("food").item, 5);
  EXPECT_EQ(rule.of("kitchen").user, 5);
  EXPECT_EQ(rule.of("kitchen").item, 3);
}

TEST(CoreRule, RefusesWhatItCannotRead) {
  for (const char* wrong : {"x", "-3", "5.5", "users:5", "user:", ":5", "/5", "user:5:3", "5,,3"}) {
    expect_error(Cause::usage, {"--core", "user:5,item:3"}, [&] { parse_core_rule(wrong); });
  }
}

TEST(CoreRule, RefusesAThresholdThatIsGivenTwice) {
  const std::pair<const char*, const char*> cases[] = {
      {"5,2", "'2' gives the threshold of users a second time"},
      {"user:2,user:4", "'user:4' gives the threshold of users"},
      {"item:2,item:2", "'item:2' gives the threshold of items"},
      {"5,item:3", "'item:3' gives the threshold of items"},
      {"item:3,5", "'5' gives the threshold of items"},
      {"kitchen/5,food/2,kitchen/user:3",
       "'kitchen/user:3' gives the threshold of users in kitchen"},
  };
  for (const auto& [wrong, words] : cases) {
    expect_error(Cause::usage, {"--core=", wrong, words},
                 [&, wrong = wrong] { parse_core_rule(wrong); });
  }
}

/// Takes one user or item below its threshold at a time, counting anew each time.
std::set<std::pair<int, int>> slow_core(std::set<std::pair<int, int>> pairs,
                                        const CoreThresholds& thresholds) {
  while (true) {
    std::map<int, int> users;
    std::map<int, int> items;
    for (const auto& [user, item] : pairs) {
      ++users[user];
      ++items[item];
    }
    bool changed = false;
    for (const auto& [user, degree] : users) {
      if (degree >= thresholds.user || changed) continue;
      std::erase_if(pairs, [&, lost = user](const auto& pair) { return pair.first == lost; });
      changed = true;
    }
    for (const auto& [item, degree] : items) {
      if (degree >= thresholds.item || changed) continue;
      std::erase_if(pairs, [&, lost = item](const auto& pair) { return pair.second == lost; });
      changed = true;
    }
    if (!changed) return pairs;
  }
}

TEST(FindCore, AgreesWithTakingOneNodeAtATime) {
  for (const CoreThresholds thresholds :
       {CoreThresholds{1, 1}, {2, 2}, {3, 2}, {1, 4}, {5, 5}, {50, 1}}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const Random random(seed, Purpose::synthetic);
      std::set<std::pair<int, int>> pairs;
      for (int i = 0; i < 120; ++i) {
        pairs.emplace(random.index(40, i, 0), random.index(30, i, 1));
      }
      PackedColumn<std::int32_t> user;
      PackedColumn<std::int32_t> item;
      for (const auto& [u, i] : pairs) {
        user.push_back(u);
        item.push_back(i);
      }
      std::vector<std::uint8_t> keep;
      const CoreReport report = find_core(user, item, 40, 30, thresholds, keep);
      std::set<std::pair<int, int>> kept;
      for (std::size_t i = 0; i < keep.size(); ++i) {
        if (keep[i] != 0) kept.emplace(user[i], item[i]);
      }
      EXPECT_EQ(kept, slow_core(pairs, thresholds));
      EXPECT_EQ(report.interactions_dropped, static_cast<std::int64_t>(pairs.size() - kept.size()));
      EXPECT_EQ(report.rounds > 0, report.interactions_dropped > 0);
    }
  }
}

TEST(FindCore, CountsUsersAndItemsItDrops) {
  // A chain: user 0 has one item, whose loss takes item 0 below its threshold, and so on.
  const PackedColumn<std::int32_t> user = {0, 1, 1, 2, 2, 3, 3};
  const PackedColumn<std::int32_t> item = {0, 0, 1, 1, 2, 2, 2};
  std::vector<std::uint8_t> keep;
  const CoreReport report = find_core(user, item, 5, 4, {2, 2}, keep);
  EXPECT_EQ(report.users_dropped, 3);
  EXPECT_EQ(report.items_dropped, 2);
  EXPECT_EQ(report.interactions_dropped, 5);
}

}  // namespace
}  // namespace micrec
