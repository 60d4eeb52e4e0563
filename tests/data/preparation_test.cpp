#include "data/preparation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(Preparation, KeepsARepeatedPairOnceAtItsEarliestTime) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("d", {{"u", "a", 9}, {"v", "a", 5}, {"u", "a", 3}, {"u", "a", 7}}));
  std::ostringstream report;
  const PreparedDataset dataset = prepare(std::move(raw), {}, kNoFeatures, report);
  const PreparedDomain& domain = dataset.domains[0];
  EXPECT_EQ(domain.user_keys, (std::vector<std::string>{"u", "v"}));
  EXPECT_EQ(domain.user, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(domain.item, (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(domain.timestamp, (std::vector<std::int64_t>{3, 5}));
  expect_has(report.str(), {"2 repeats"});
}

TEST(Preparation, MatchesAPlainLoopOverKeys) {
  const auto events = random_events("food", 120, 60, 900, 1);
  std::map<std::pair<std::string, std::string>, std::int64_t> oracle;
  for (const Event& event : events) {
    const auto [at, is_new] = oracle.try_emplace({event.user, event.item}, event.timestamp);
    if (!is_new) at->second = std::min(at->second, event.timestamp);
  }
  const PreparedDataset dataset = prepare_quietly(random_world());
  const PreparedDomain& domain = dataset.domains[0];
  ASSERT_EQ(domain.interactions(), static_cast<std::int64_t>(oracle.size()));
  EXPECT_TRUE(std::is_sorted(domain.user_keys.begin(), domain.user_keys.end(), key_less));
  EXPECT_TRUE(std::is_sorted(domain.item_keys.begin(), domain.item_keys.end(), key_less));
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    const auto at =
        oracle.find({domain.user_keys[domain.user[i]], domain.item_keys[domain.item[i]]});
    ASSERT_NE(at, oracle.end());
    EXPECT_EQ(at->second, domain.timestamp[i]);
    if (i > 0) {
      EXPECT_LT(std::pair(domain.user[i - 1], domain.item[i - 1]),
                std::pair(domain.user[i], domain.item[i]));
    }
  }
}

TEST(Preparation, MatchesPeopleByKeyOverAnyNumberOfDomains) {
  for (int domains = 1; domains <= 3; ++domains) {
    std::vector<RawDomain> raw;
    const char* names[] = {"a", "b", "c"};
    for (int d = 0; d < domains; ++d) {
      raw.push_back(raw_domain(names[d], random_events(names[d], 30 + 5 * d, 20, 200, d)));
    }
    const PreparedDataset dataset = prepare_quietly(std::move(raw));
    std::set<std::string> people;
    for (std::size_t d = 0; d < dataset.domains.size(); ++d) {
      const PreparedDomain& domain = dataset.domains[d];
      ASSERT_EQ(dataset.person_of_user[d].size(), domain.user_keys.size());
      for (std::int64_t user = 0; user < domain.users(); ++user) {
        EXPECT_EQ(dataset.person_keys[dataset.person_of_user[d][user]], domain.user_keys[user]);
        people.insert(domain.user_keys[user]);
      }
    }
    EXPECT_EQ(dataset.people(), static_cast<std::int64_t>(people.size()));
    EXPECT_TRUE(std::is_sorted(dataset.person_keys.begin(), dataset.person_keys.end(), key_less));
  }
}

TEST(Preparation, NumbersDoNotDependOnTheOrderOfLines) {
  auto events = random_events("food", 120, 60, 900, 1);
  std::vector<RawDomain> forward;
  forward.push_back(raw_domain("food", events));
  std::reverse(events.begin(), events.end());
  std::vector<RawDomain> backward;
  backward.push_back(raw_domain("food", events));
  const PreparedDataset a = prepare_quietly(std::move(forward));
  const PreparedDataset b = prepare_quietly(std::move(backward));
  EXPECT_EQ(a.domains[0].user_keys, b.domains[0].user_keys);
  EXPECT_EQ(a.domains[0].item, b.domains[0].item);
  EXPECT_EQ(a.domains[0].split, b.domains[0].split);
}

TEST(Preparation, FiltersEachDomainByItsOwnCoreAndClosesTheGaps) {
  PreparationOptions options;
  options.core = parse_core_rule("user:4,item:3,tools/item:6");
  std::ostringstream report;
  const PreparedDataset dataset = prepare(random_world(), options, kNoFeatures, report);
  expect_has(report.str(), {"food: core of 4 interactions a user and 3 an item"});
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<int> users(domain.users(), 0);
    std::vector<int> items(domain.items(), 0);
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      ++users[domain.user[i]];
      ++items[domain.item[i]];
    }
    EXPECT_GE(*std::min_element(users.begin(), users.end()), 4);
    EXPECT_GE(*std::min_element(items.begin(), items.end()), domain.name == "tools" ? 6 : 3);
  }
}

TEST(Preparation, RefusesADomainThatTheCoreEmpties) {
  PreparationOptions options;
  options.core = parse_core_rule("tools/user:500");
  expect_error(Cause::data, {"tools", "no interaction left", "500", "smaller --core"},
               [&] { prepare_quietly(random_world(), options); });
}

TEST(Preparation, RefusesACoreOfAnUnknownDomain) {
  PreparationOptions options;
  options.core = parse_core_rule("toys/user:5");
  expect_error(Cause::usage, {"toys", "food, tools"},
               [&] { prepare_quietly(random_world(), options); });
}

TEST(Preparation, KeepsGivenSplitsAndPrefersTrainingForAPairInTwoFiles) {
  RawDomain raw =
      raw_domain("d", {{"1", "5"}, {"1", "6"}, {"2", "5"}, {"1", "6"}, {"2", "7"}}, false);
  raw.given_split = {Split::train, Split::train, Split::train, Split::test, Split::test};
  PreparationOptions options;
  options.split = parse_split_rule("files");
  std::vector<RawDomain> domains;
  domains.push_back(std::move(raw));
  std::ostringstream report;
  const PreparedDataset dataset = prepare(std::move(domains), options, kNoFeatures, report);
  const PreparedDomain& domain = dataset.domains[0];
  EXPECT_EQ(domain.user, (std::vector<std::int32_t>{0, 0, 1, 1}));
  EXPECT_EQ(domain.item, (std::vector<std::int32_t>{0, 1, 0, 2}));
  EXPECT_EQ(domain.split,
            (std::vector<Split>{Split::train, Split::train, Split::train, Split::test}));
  expect_has(report.str(), {"two of the files"});
}

TEST(Preparation, KeepsASplitFromAColumn) {
  RawDomain raw = raw_domain("d", {{"1", "5"}, {"1", "6"}, {"1", "7"}, {"1", "6"}}, false);
  raw.given_split = {Split::train, Split::valid, Split::test, Split::test};
  PreparationOptions options;
  options.split = parse_split_rule("column");
  std::vector<RawDomain> domains;
  domains.push_back(std::move(raw));
  std::ostringstream report;
  const PreparedDataset dataset = prepare(std::move(domains), options, kNoFeatures, report);
  EXPECT_EQ(dataset.split_rule, "column");
  EXPECT_EQ(dataset.domains[0].split,
            (std::vector<Split>{Split::train, Split::valid, Split::test}));
  expect_has(report.str(), {"1 of them in two of the split's parts"});
}

TEST(Preparation, RefusesPointsInTimeForDatesAndPositions) {
  for (const char* rule : {"global_time:8:1:1", "time:8:1:1"}) {
    std::vector<RawDomain> raw = random_world();
    raw[0].time_scale = TimeScale::order;
    raw[1].time_scale = TimeScale::dates;
    PreparationOptions options;
    options.split = parse_split_rule(rule);
    if (options.split.kind == SplitKind::time) {
      EXPECT_NO_THROW(prepare_quietly(std::move(raw), options));
      continue;
    }
    expect_error(Cause::data, {"tools are dates", "food positions", "--split=time"},
                 [&] { prepare_quietly(std::move(raw), options); });
  }
}

TEST(Preparation, WarnsOfPointsInTimeForPositions) {
  for (const char* rule : {"global_time:8:1:1", "time:8:1:1"}) {
    for (const TimeScale scale : {TimeScale::order, TimeScale::dates}) {
      std::vector<RawDomain> raw = random_world();
      for (RawDomain& domain : raw) domain.time_scale = scale;
      PreparationOptions options;
      options.split = parse_split_rule(rule);
      std::ostringstream report;
      prepare(std::move(raw), options, kNoFeatures, report);
      const bool warned =
          report.str().find(
              "times of food and tools are positions; a global cut needs real times") !=
          std::string::npos;
      EXPECT_EQ(warned, options.split.kind == SplitKind::global_time && scale == TimeScale::order)
          << rule << ": " << report.str();
    }
  }
}

std::vector<Event> swapped(std::vector<Event> events) {
  for (Event& event : events) std::swap(event.user, event.item);
  return events;
}

TEST(Preparation, RefusesSwappedColumnsOfEitherDomain) {
  const auto food = random_events("food", 120, 60, 900, 1);
  const auto tools = random_events("tools", 90, 80, 700, 2);
  for (const bool first : {true, false}) {
    std::vector<RawDomain> raw;
    raw.push_back(raw_domain("food", first ? swapped(food) : food));
    raw.push_back(raw_domain("tools", first ? tools : swapped(tools)));
    expect_error(Cause::data, {"food", "tools", "swapped", "--columns=USER,ITEM"},
                 [&] { prepare_quietly(std::move(raw)); });
  }
}

TEST(Preparation, AcceptsMereNumbersForUsersAndItems) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("a", {{"0", "0"}, {"1", "1"}, {"2", "2"}}));
  raw.push_back(raw_domain("b", {{"5", "0"}, {"6", "1"}, {"5", "2"}}));
  EXPECT_EQ(prepare_quietly(std::move(raw)).people(), 5);
}

TEST(Preparation, RefusesAModalityOfTwoWidths) {
  const FeatureReader features = [](const PreparedDomain& domain) {
    FeatureTable table;
    table.modality = "text";
    table.width = domain.name == "food" ? 3 : 4;
    table.present.assign(domain.items(), 1);
    return std::vector<FeatureTable>{table};
  };
  expect_error(Cause::data, {"text", "3 columns", "food", "4 in tools"},
               [&] { prepare_quietly(random_world(), {}, features); });
}

TEST(Preparation, RefusesBadAndRepeatedDomainNames) {
  for (const char* name : {"food", "a/b", "", "key", "a,b"}) {
    std::vector<RawDomain> raw = random_world();
    raw.push_back(raw_domain(name, {{"u", "i"}}));
    expect_error(Cause::usage, {"cannot name a domain"}, [&] { prepare_quietly(std::move(raw)); });
  }
}

TEST(Summary, ShowsCountsFeaturesAndSharedPeople) {
  PreparationOptions options;
  options.hold_out = parse_hold_out("users:0.2,cold_items:0.1");
  const PreparedDataset dataset = prepare_quietly(random_world(), options, telling_features);
  std::ostringstream out;
  print_summary(dataset, out);
  expect_has(out.str(), {"domain", "later", "with text", "food", "tools", "people in both",
                         "held out in food", "strictly cold"});
}

TEST(Summary, WarnsWhereADomainHasNothingToMeasureBy) {
  const auto summary = [](std::vector<RawDomain> raw, const char* rule) {
    PreparationOptions options;
    options.split = parse_split_rule(rule);
    std::ostringstream out;
    print_summary(prepare_quietly(std::move(raw), options), out);
    return out.str();
  };
  std::vector<RawDomain> brief;
  brief.push_back(raw_domain("brief", {{"u", "a", 1}, {"u", "b", 2}, {"v", "a", 3}}));
  const std::string warned = summary(std::move(brief), "leave_one_out");
  expect_has(warned, {"warning: brief has no validation and no test interactions by the split "
                      "leave_one_out"});
  expect_has(summary(random_world(), "ratio:8:0:2"),
             {"warning: food has no validation interactions"});
  EXPECT_EQ(summary(random_world(), "ratio:8:1:1").find("warning"), std::string::npos);
}

TEST(Summary, WarnsWhereNobodyIsShared) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("a", {{"x1", "i"}}));
  raw.push_back(raw_domain("b", {{"y1", "j"}}));
  std::ostringstream out;
  print_summary(prepare_quietly(std::move(raw)), out);
  expect_has(out.str(), {"people in both a and b: 0; the contrastive loss", "'x1'"});
}

}  // namespace
}  // namespace micrec
