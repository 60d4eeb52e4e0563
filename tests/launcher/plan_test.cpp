#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "launcher/commands.h"
#include "launcher/program.h"
#include "tests/launcher/run_here.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using nlohmann::json;

class Plan : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    dataset_ = *folder_ / "data.h5";
    const Spoken made = run_here(
        {"synth", "--out=" + dataset_, "--users=300", "--items=200", "--interactions=4000"});
    ASSERT_EQ(made.code, 0) << made.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static Spoken plan(std::vector<std::string> flags) {
    std::vector<std::string> words = {"plan", "--dataset=" + dataset_};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_here(words);
  }

  static json plan_json(std::vector<std::string> flags) {
    const std::string path = *folder_ / "plan.json";
    flags.push_back("--out=" + path);
    const Spoken outcome = plan(flags);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::ifstream in(path);
    return json::parse(in);
  }

  static void expect_refused(const std::vector<std::string>& flags, int code,
                             const std::vector<std::string>& said) {
    const Spoken outcome = plan(flags);
    EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    expect_has(outcome.err, said);
  }

  static inline TemporaryFolder* folder_ = nullptr;
  static inline std::string dataset_;
};

TEST_F(Plan, SaysWhoOwnsWhatAndWhatIsSent) {
  const Spoken outcome = plan({"--ranks=4", "--grid=4x1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  expect_has(outcome.out,
             {"4 as 4x1", "balanced partition", "halo rows", "shares    by partitioner", "hash",
              "memory    of the fullest rank", "embeddings", "optimizer", "checkpoint copy",
              "halo.template", "halo.propagate.active", "batch.items", "step.dense",
              "predicted for the slowest rank", "--bandwidth="});
}

TEST_F(Plan, JsonAddsUp) {
  const json plan = plan_json({"--ranks=4", "--grid=4x1", "--partition=metis"});
  const DatasetFile dataset = DatasetFile::open(dataset_);
  std::int64_t users = 0;
  std::int64_t nonzeros = 0;
  double sent = 0;
  double sent_by_name = 0;
  for (const json& rank : plan["plan"]["ranks"]) {
    users += rank["users"].get<std::int64_t>();
    nonzeros += rank["nonzeros"].get<std::int64_t>();
    sent += rank["bytes_a_step"].get<double>();
  }
  for (const json& collective : plan["plan"]["collectives"]) {
    sent_by_name += collective["bytes"].get<double>();
  }
  std::int64_t expected_users = 0;
  std::int64_t interactions = 0;
  for (const DomainInfo& domain : dataset.domains()) {
    expected_users += domain.users;
    interactions += domain.interactions[static_cast<int>(Split::train)];
  }
  EXPECT_EQ(plan["plan"]["ranks"].size(), 4U);
  EXPECT_EQ(users, expected_users);
  EXPECT_EQ(nonzeros, 2 * interactions);
  EXPECT_NEAR(sent, plan["plan"]["bytes_a_step"].get<double>(), 1);
  EXPECT_NEAR(sent_by_name, sent, 1);
  EXPECT_EQ(plan["plan"]["partition"], "metis");
  EXPECT_EQ(plan["partitioners"].size(), 3U) << "hash, balanced and the chosen one";
}

TEST_F(Plan, CountsTheFitOfItemRegressionWhereThereIsOne) {
  const json fit = plan_json({"--ranks=4", "--grid=2x2"})["plan"]["fit"];
  double sent = 0;
  std::vector<std::string> names;
  for (const json& collective : fit["collectives"]) {
    sent += collective["bytes"].get<double>();
    names.push_back(collective["name"]);
  }
  EXPECT_EQ(std::ranges::count(names, "item_regression.histories"), 1);
  EXPECT_EQ(std::ranges::count(names, "item_regression.features"), 1);
  EXPECT_NEAR(sent, fit["bytes"].get<double>(), 1);
  EXPECT_GT(fit["seconds"]["matrices"].get<double>(), 0);
  EXPECT_FALSE(plan_json({"--ranks=4", "--item_regression=off"})["plan"].contains("fit"));
}

TEST_F(Plan, ComparesPartitionersOnTheSameGrid) {
  const json plan = plan_json({"--ranks=8", "--grid=8x1", "--compare"});
  ASSERT_EQ(plan["partitioners"].size(), 3U);
  EXPECT_EQ(plan["partitioners"][0]["partition"], "hash");
  EXPECT_EQ(plan["partitioners"][2]["partition"], "metis");
  for (const json& partitioner : plan["partitioners"]) {
    EXPECT_EQ(partitioner["grid"], "8x1");
    EXPECT_GT(partitioner["halo_rows"].get<int>(), 0);
    EXPECT_GE(partitioner["balance"]["nonzeros"].get<double>(), 1);
  }
}

TEST_F(Plan, LooksAtAllGridsAndTakesOne) {
  const json plan = plan_json({"--ranks=8"});
  ASSERT_EQ(plan["grids"].size(), 4U);  // 8x1, 4x2, 2x4, 1x8
  double shortest = 1e300;
  for (const json& grid : plan["grids"]) {
    shortest = std::min(shortest, grid["step_seconds"].get<double>());
  }
  EXPECT_LE(plan["plan"]["step_seconds"].get<double>(), 1.02 * shortest);
  EXPECT_TRUE(plan["fits"].get<bool>());
}

TEST_F(Plan, PlansForManyRanks) {
  const json plan = plan_json({"--ranks=1024", "--grid=1024x1"});
  EXPECT_EQ(plan["plan"]["ranks"].size(), 1024U);
  const Spoken outcome = Plan::plan({"--ranks=1024"});
  expect_has(outcome.out, {"least, median and most memory"});
}

TEST_F(Plan, RatesOnTheCommandLineCount) {
  const json slow = plan_json({"--ranks=4", "--grid=4x1", "--bandwidth=0.001", "--latency=0"});
  const json fast = plan_json({"--ranks=4", "--grid=4x1", "--bandwidth=10", "--latency=0.001"});
  EXPECT_GT(slow["plan"]["step_seconds"].get<double>(),
            5 * fast["plan"]["step_seconds"].get<double>());
  EXPECT_NEAR(fast["rates"]["network_bytes_per_second"].get<double>(), 1e10, 1);
  EXPECT_NEAR(fast["rates"]["message_seconds"].get<double>(), 1e-9, 1e-15);
}

TEST_F(Plan, CalibratesThisMachine) {
  const json plan = plan_json({"--ranks=2", "--calibrate", "--latency=7"});
  for (const char* rate : {"neighbour_bytes_per_second", "matrix_operations_per_second",
                           "copy_bytes_per_second", "network_bytes_per_second"}) {
    EXPECT_GT(plan["rates"][rate].get<double>(), 1e7) << rate;
  }
  EXPECT_NEAR(plan["rates"]["message_seconds"].get<double>(), 7e-6, 1e-12) << "given wins";
}

TEST_F(Plan, SaysWhatDoesNotFitAndWhatWould) {
  const Spoken outcome = plan({"--ranks=2", "--memory=0.01"});
  EXPECT_EQ(outcome.code, 2);
  expect_has(outcome.out, {"no grid fits"});
  expect_has(outcome.err, {"will not fit because rank", "MiB for program", "--memory gives each",
                           "not even 256 ranks would fit"});
  EXPECT_EQ(plan({"--ranks=2", "--memory=64"}).code, 0);
  // Between what two ranks need and what more do.
  const auto needed = [&](const char* ranks) {
    return plan_json({ranks, "--dim=1024"})["plan"]["memory_bytes_of_fullest_rank"].get<double>();
  };
  const double between = (needed("--ranks=2") + needed("--ranks=4")) / 2;
  std::ostringstream given;
  given << std::setprecision(12) << "--memory=" << between / (1024.0 * 1024 * 1024);
  const Spoken tight = plan({"--ranks=2", "--dim=1024", given.str()});
  EXPECT_EQ(tight.code, 2) << tight.out;
  expect_has(tight.err, {"--ranks=4 would fit as"});
}

TEST_F(Plan, WritesAnAssignmentThatItReadsAgain) {
  const std::string path = *folder_ / "parts.csv";
  const json made =
      plan_json({"--ranks=3", "--partition=metis", "--write_partition=" + path, "--grid=3x1"});
  const json read = plan_json({"--ranks=3", "--partition=file:" + path});
  EXPECT_EQ(read["plan"]["grid"], "3x1");
  EXPECT_EQ(read["plan"]["halo_rows"], made["plan"]["halo_rows"]);
  EXPECT_EQ(read["plan"]["ranks"], made["plan"]["ranks"]);
  const json columns = plan_json({"--ranks=6", "--partition=file:" + path});
  EXPECT_EQ(columns["plan"]["grid"], "3x2");
  expect_refused({"--ranks=4", "--partition=file:" + path}, 2, {"has 3 parts", "start 3 ranks"});
  expect_refused({"--ranks=4", "--grid=4x1", "--partition=file:" + path}, 3,
                 {"has 3 parts", "4 row parts"});
}

TEST_F(Plan, RefusesBadFlags) {
  expect_refused({"--ranks=0"}, 2, {"--ranks"});
  expect_refused({"--ranks=4", "--grid=3x1"}, 2, {"--grid=3x1", "4 ranks"});
  expect_refused({"--ranks=4", "--grid=square"}, 2, {"--grid=square", "auto"});
  expect_refused({"--ranks=4", "--partition=best"}, 2, {"--partition", "file:PATH"});
  expect_refused({"--ranks=4", "--partition=file:"}, 2, {"--partition", "file:PATH"});
  expect_refused({"--ranks=4", "--partition=file:none.csv"}, 4, {"none.csv"});
  expect_refused({"--ranks=4", "--memory=-1"}, 2, {"--memory"});
  expect_refused({"--ranks=4", "--out=no/such/folder/plan.json"}, 4, {"no/such/folder"});
  const Spoken without = run_here({"plan", "--ranks=4"});
  EXPECT_EQ(without.code, 2);
  expect_has(without.err, {"--dataset"});
}

TEST_F(Plan, HelpNamesItsFlags) {
  const Spoken help = run_here({"help", "plan"});
  EXPECT_EQ(help.code, 0);
  expect_has(help.out,
             {"--ranks", "--grid", "--partition", "--memory", "]calibrate", "--bandwidth",
              "--latency", "--write_partition", "]compare", "--contrastive_batch", "--batch"});
}

}  // namespace
}  // namespace micrec
