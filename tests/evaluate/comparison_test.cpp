#include "evaluate/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

PerUserSlice whole(std::vector<double> values) {
  PerUserSlice slice;
  slice.name = "all";
  for (std::size_t n = 0; n < values.size(); ++n) {
    slice.row.push_back(static_cast<std::int32_t>(n));
    slice.positives.push_back(1);
  }
  slice.values = {std::move(values)};
  return slice;
}

/// A run with one domain "food", one metric, and a slice of the first and the last user.
NamedRun make_run(const std::string& name, const std::vector<std::string>& users,
                  const std::vector<double>& values) {
  NamedRun run;
  run.name = name;
  run.metrics.origin = {.model = "mf",
                        .checkpoint = "step-000000000007",
                        .dataset_fingerprint = "0123",
                        .split_rule = "ratio:8:1:1",
                        .hold_out = ""};
  run.metrics.metrics = {"ndcg@20"};
  PerUserSlice ends = whole({values.front(), values.back()});
  ends.name = "items_degree_4_7";
  ends.row.back() = static_cast<std::int32_t>(users.size()) - 1;
  run.metrics.domains = {{"food", users, {whole(values), ends}}};
  return run;
}

TEST(Comparison, PairsUsersByTheirKeysInAnyOrder) {
  const NamedRun first = make_run("a", {"x", "y", "z", "w"}, {0.1, 0.2, 0.3, 0.4});
  const NamedRun second = make_run("b", {"w", "z", "x", "y"}, {0.5, 0.1, 0.1, 0.9});
  const Comparison comparison = compare({first, second}, {});
  EXPECT_TRUE(comparison.warnings.empty());
  ASSERT_EQ(comparison.domains.size(), 1U);
  ASSERT_EQ(comparison.domains[0].slices.size(), 2U);
  const SliceComparison& all = comparison.domains[0].slices[0];
  EXPECT_EQ(all.users, 4);
  EXPECT_DOUBLE_EQ(all.figures[0][0].value, 0.25);
  EXPECT_DOUBLE_EQ(all.figures[0][1].value, 0.4);
  EXPECT_DOUBLE_EQ(all.figures[0][1].difference, 0.15);
  EXPECT_DOUBLE_EQ(all.figures[0][1].better, 0.5);  // w and y
  EXPECT_DOUBLE_EQ(all.figures[0][1].worse, 0.25);  // z
  const SliceComparison& ends = comparison.domains[0].slices[1];
  EXPECT_EQ(ends.name, "items_degree_4_7");
  EXPECT_EQ(ends.users, 1) << "w alone is in the slice in both runs";
  EXPECT_DOUBLE_EQ(ends.figures[0][1].difference, 0.5 - 0.4);
}

TEST(Comparison, OfARunWithItselfIsNoDifference) {
  const NamedRun run = make_run("a", {"x", "y", "z"}, {0.1, 0.2, 0.3});
  const Comparison comparison = compare({run, run}, {});
  for (const SliceComparison& slice : comparison.domains[0].slices) {
    const RunFigures& figures = slice.figures[0][1];
    EXPECT_EQ(figures.difference, 0);
    EXPECT_EQ(figures.difference_interval.low, 0);
    EXPECT_EQ(figures.difference_interval.high, 0);
    EXPECT_EQ(figures.better + figures.worse, 0);
  }
  expect_has(comparison.to_markdown(), {"+0.0000 (none)"});
}

TEST(Comparison, SaysInWhatTheRunsAreNotAlike) {
  NamedRun second = make_run("b", {"x", "y", "u"}, {0.5, 0.1, 0.1});
  second.metrics.origin.dataset_fingerprint = "4567";
  second.metrics.origin.split_rule = "time:0.8:0.9";
  second.metrics.domains[0].slices[0].positives[1] = 3;
  second.metrics.domains.push_back({"kitchen", {}, {whole({})}});
  const Comparison comparison =
      compare({make_run("a", {"x", "y", "z"}, {0.1, 0.2, 0.3}), second}, {});
  ASSERT_EQ(comparison.warnings.size(), 5U);
  const std::string told = comparison.to_markdown();
  expect_has(
      told,
      {"**Warning:** b has another data set (4567) than a (0123)",
       "b has another split rule (time:0.8:0.9) than a (ratio:8:1:1)",
       "domain kitchen is left out, as a has none of that name",
       "food: not the same users have relevant items (3 of a, 3 of b); the 2 that are in every "
       "run are compared",
       "food: 1 of the compared users have more relevant items in one run than in another"});
  EXPECT_EQ(comparison.domains[0].slices[0].users, 2);
}

TEST(Comparison, RefusesWhatCannotBePaired) {
  const NamedRun first = make_run("a", {"x", "y"}, {0.1, 0.2});
  NamedRun other_split = first;
  other_split.name = "b";
  other_split.metrics.origin.split = Split::valid;
  const NamedRun strangers = make_run("b", {"u", "v"}, {0.1, 0.2});
  NamedRun elsewhere = first;
  elsewhere.metrics.domains[0].name = "kitchen";
  for (const auto& [second, part] :
       {std::pair(other_split, "b was evaluated on 'valid' and a on 'test'"),
        std::pair(strangers, "no user with relevant items is in all of a, b"),
        std::pair(elsewhere, "no user with relevant items is in all of a, a")}) {
    const std::vector<NamedRun> both = {first, second};
    expect_error(Cause::data, {part}, [&] { compare(both, {}); });
  }
}

TEST(Comparison, MeanIsOverDomainsAndNotOverUsers) {
  NamedRun first = make_run("a", {"x", "y", "z"}, {0.1, 0.2, 0.3});
  NamedRun second = make_run("b", {"x", "y", "z"}, {0.2, 0.3, 0.4});
  first.metrics.domains.push_back({"kitchen", {"x"}, {whole({0.5})}});
  second.metrics.domains.push_back({"kitchen", {"x"}, {whole({0.2})}});
  const RunFigures mean = compare({first, second}, {}).mean[0][1];
  EXPECT_DOUBLE_EQ(mean.value, (0.3 + 0.2) / 2);
  EXPECT_NEAR(mean.difference, (0.1 - 0.3) / 2, 1e-12);
  // Every user of a domain differs by the same, so no sample does otherwise.
  EXPECT_NEAR(mean.difference_interval.low, -0.1, 1e-12);
  EXPECT_NEAR(mean.difference_interval.high, -0.1, 1e-12);
}

TEST(Comparison, PeopleOfSeveralDomainsAreDrawnOnce) {
  std::vector<std::string> keys;
  std::vector<double> values;
  for (int n = 0; n < 40; ++n) {
    keys.push_back("person" + std::to_string(n));
    values.push_back(n < 20 ? 0.2 : 0.6);
  }
  const NamedRun none = make_run("a", keys, std::vector<double>(keys.size(), 0.0));
  const NamedRun one = make_run("b", keys, values);
  const auto with_kitchen = [&](NamedRun run, const std::vector<std::string>& users) {
    const std::vector<double> same = run.metrics.domains[0].slices[0].values[0];
    run.metrics.domains.push_back({"kitchen", users, {whole(same)}});
    return run;
  };
  const auto width = [&](const std::vector<std::string>& users) {
    const Interval interval =
        compare({with_kitchen(none, users), with_kitchen(one, users)}, {}).mean[0][1].interval;
    return interval.high - interval.low;
  };
  std::vector<std::string> strangers;
  for (const std::string& key : keys) strangers.push_back("other " + key);
  const Interval alone = compare({none, one}, {}).domains[0].slices[0].figures[0][1].interval;
  // The same people with the same figures twice say no more than once; as many strangers, whose
  // figures are independent of theirs, narrow the interval by the root of two.
  EXPECT_NEAR(width(keys), alone.high - alone.low, 0.011);
  EXPECT_NEAR(width(strangers), (alone.high - alone.low) / std::sqrt(2.0), 0.011);
}

TEST(Comparison, JsonIsAsDocumented) {
  const Comparison comparison = compare({make_run("a", {"x", "y", "z"}, {0.1, 0.2, 0.3}),
                                         make_run("b", {"x", "y", "z"}, {0.3, 0.3, 0.3}),
                                         make_run("c", {"x", "y", "z"}, {0.1, 0.2, 0.3})},
                                        {.resamples = 500, .seed = 3});
  const nlohmann::json json = nlohmann::json::parse(comparison.to_json().dump());
  EXPECT_EQ(json["runs"].size(), 3U);
  EXPECT_EQ(json["runs"][1]["name"], "b");
  EXPECT_EQ(json["resamples"], 500);
  const nlohmann::json& all = json["domains"]["food"]["slices"]["all"];
  EXPECT_EQ(all["users"], 3);
  const nlohmann::json& runs = all["metrics"]["ndcg@20"];
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_FALSE(runs[0].contains("difference"));
  EXPECT_NEAR(runs[1]["difference"], 0.1, 1e-12);
  EXPECT_NEAR(runs[1]["better"], 2 / 3.0, 1e-12);
  EXPECT_NEAR(runs[1]["equal"], 1 / 3.0, 1e-12);
  EXPECT_FALSE(runs[2]["differs"]);
  EXPECT_EQ(json["mean"]["ndcg@20"][1]["value"], runs[1]["value"]);
}

}  // namespace
}  // namespace micrec
