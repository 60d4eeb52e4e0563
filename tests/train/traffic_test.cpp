#include "train/log/traffic.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "train/log/metrics_log.h"

namespace micrec {
namespace {

// Rank r of 2 sends 100 * (r + 1) bytes a call, 3 calls in 2 steps.
Traffic two_ranks() {
  Traffic traffic;
  run_ranks(2, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    LedgerEntries own;
    own["halo.propagate"] = {3, 300 * (rank + 1), 300 * (2 - rank), 0.5, 1.5};
    own["step.replicated"] = {2, 16, 16, 0.25, 0};
    const Traffic both = Traffic::of(communicator, 2, own);
    if (rank == 0) traffic = both;
  });
  return traffic;
}

TEST(Traffic, IsBytesOverAllRanksAndSecondsOfOneAStep) {
  Traffic traffic = two_ranks();
  traffic.add(two_ranks());  // twice as much in twice as many steps
  const std::vector<TrafficLine> lines = traffic.lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].name, "halo.propagate");
  EXPECT_DOUBLE_EQ(lines[0].bytes, 450);
  EXPECT_DOUBLE_EQ(lines[0].largest_rank_bytes, 300);
  EXPECT_DOUBLE_EQ(lines[0].calls, 1.5);
  EXPECT_DOUBLE_EQ(lines[0].waited_seconds, 0.25);
  EXPECT_DOUBLE_EQ(lines[0].hidden_seconds, 0.75);
  EXPECT_DOUBLE_EQ(lines[1].bytes, 16);
  EXPECT_DOUBLE_EQ(traffic.sum().bytes, 466);
  EXPECT_FALSE(traffic.sum().over_bound()) << "nothing is planned";
}

TEST(Traffic, StandsBesideThePlan) {
  Traffic traffic = two_ranks();
  traffic.bound_bytes = {{"halo.propagate", 360}};
  EXPECT_DOUBLE_EQ(traffic.lines()[0].over_bound().value(), 1.25);
  EXPECT_FALSE(traffic.lines()[1].over_bound()) << "not planned";
  EXPECT_DOUBLE_EQ(traffic.sum().over_bound().value(), 1.25) << "of the planned part";
  expect_has(traffic.to_table(), {"1.25"});
}

TEST(Traffic, IsATableForPeople) {
  const std::string table = two_ranks().to_table();
  expect_has(table, {"halo.propagate", "all of step", "75 %"});
  EXPECT_EQ(Traffic().to_table(), "") << "one rank sends nothing";
}

TEST(Traffic, IsALineOfTheMetricsLog) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), 0);
    Traffic traffic = two_ranks();
    traffic.bound_bytes = {{"halo.propagate", 360}};
    log.ledger(2, traffic);
  }
  std::ifstream file(MetricsLog::path_in(folder.path()));
  std::string line;
  std::getline(file, line);
  const auto object = nlohmann::json::parse(line);
  EXPECT_EQ(object["kind"], "ledger");
  EXPECT_EQ(object["step"], 2);
  EXPECT_EQ(object["bytes_per_step"], 466);
  const auto& halo = object["collectives"]["halo.propagate"];
  EXPECT_EQ(halo["phase"], "halo");
  EXPECT_EQ(halo["bytes_per_step"], 450);
  EXPECT_EQ(halo["hidden_seconds_per_step"], 0.75);
  EXPECT_EQ(halo["bound_bytes_per_step"], 360);
  EXPECT_EQ(halo["over_bound"], 1.25);
  EXPECT_EQ(object["over_bound"], 1.25);
  EXPECT_FALSE(object["collectives"]["step.replicated"].contains("over_bound"));
}

}  // namespace
}  // namespace micrec
