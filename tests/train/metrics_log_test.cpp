#include "train/log/metrics_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "train/log/progress.h"
#include "train/log/run_clock.h"
#include "train/log/step_clock.h"
#include "train/run_settings.h"
#include "train/trainer.h"

namespace micrec {
namespace {

using nlohmann::json;

class MetricsLogTest : public ::testing::Test {
 protected:
  std::vector<json> lines() const {
    std::ifstream file(MetricsLog::path_in(run_dir_));
    std::vector<json> all;
    for (std::string line; std::getline(file, line);) all.push_back(json::parse(line));
    return all;
  }

  // What the lines are about, in order.
  std::vector<std::pair<std::string, int>> kinds_and_steps() const {
    std::vector<std::pair<std::string, int>> all;
    for (const json& line : lines()) all.emplace_back(line.at("kind"), line.at("step"));
    return all;
  }

  static StepRecord record(std::int64_t step) {
    StepRecord record;
    record.step = step;
    record.epoch = step / 10;
    record.loss = 0.6931;
    record.parts.by_name = {{"ranking", 0.5}, {"l2", 0.0}};
    record.learning_rate = 1e-3;
    record.seconds = 1.5;
    record.triples_per_second = 12345;
    return record;
  }

  const TemporaryFolder folder_;
  const std::string run_dir_ = folder_.path();
};

const nlohmann::ordered_json kReport = {{"split", "valid"}, {"mean", {{"ndcg@20", 0.0471}}}};

TEST_F(MetricsLogTest, WritesAnObjectALine) {
  MetricsLog log(run_dir_, 0);
  log.step(record(10));
  log.validation(1, 10, {0.0471, 0.002}, true, kReport);
  log.save({.name = "step-000000000010",
            .step = 10,
            .bytes = 4096,
            .seconds = 0.25,
            .blocked_seconds = 0.0625,
            .copy_seconds = 0.03125,
            .write_seconds = 0.125});
  log.result("test", 10, kReport);
  log.end(10, "finished", 12.5, {{"test", 2.5, 4096}});
  const std::vector<json> all = lines();  // while the log is open: nothing is held back
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[0], json({{"kind", "step"},
                          {"step", 10},
                          {"epoch", 1},
                          {"loss", 0.6931},
                          {"ranking", 0.5},
                          {"l2", 0.0},
                          {"learning_rate", 1e-3},
                          {"seconds", 1.5},
                          {"triples_per_second", 12345.0}}));
  EXPECT_EQ(all[1], json({{"kind", "validation"},
                          {"step", 10},
                          {"epoch", 1},
                          {"metric", 0.0471},
                          {"margin", 0.002},
                          {"improved", true},
                          {"split", "valid"},
                          {"mean", {{"ndcg@20", 0.0471}}}}));
  EXPECT_EQ(all[2], json({{"kind", "save"},
                          {"step", 10},
                          {"checkpoint", "step-000000000010"},
                          {"bytes", 4096},
                          {"seconds", 0.25},
                          {"blocked_seconds", 0.0625},
                          {"copy_seconds", 0.03125},
                          {"write_seconds", 0.125}}));
  EXPECT_EQ(all[3]["kind"], "test");
  EXPECT_EQ(all[4],
            json({{"kind", "end"},
                  {"step", 10},
                  {"reason", "finished"},
                  {"seconds", 12.5},
                  {"phases", {{{"phase", "test"}, {"seconds", 2.5}, {"memory_bytes", 4096.0}}}}}));
}

TEST_F(MetricsLogTest, TellsOnceWhereAnAttemptStarts) {
  for (const char* attempt : {"died before it saved", "goes on"}) {
    MetricsLog log(run_dir_, 0);
    log.start(0, {{"ranks", 2}, {"grid", attempt}}, {{"reading", 1.5, 4096}});
    log.step(record(10));
  }
  {
    MetricsLog log(run_dir_, 10);
    log.start(10, {{"ranks", 4}}, {});
  }
  EXPECT_EQ(kinds_and_steps(),
            (std::vector<std::pair<std::string, int>>{{"start", 0}, {"step", 10}, {"start", 10}}));
  EXPECT_EQ(
      lines()[0],
      json({{"kind", "start"},
            {"step", 0},
            {"ranks", 2},
            {"grid", "goes on"},
            {"phases", {{{"phase", "reading"}, {"seconds", 1.5}, {"memory_bytes", 4096.0}}}}}));
}

TEST_F(MetricsLogTest, WritesWhereTheTimeOfAStepWent) {
  MetricsLog log(run_dir_, 0);
  StepProfile profile;
  profile.step = 30;
  profile.steps = 20;
  profile.part_ms = {1, 2, 3, 4};
  profile.exchange_ms = 5;
  profile.total_ms = 15;
  log.profile(profile);
  DeviceTime device;
  device.busy_ns = {20e6, 40e6, 60e6, 80e6};
  device.exchange_ns = 100e6;
  device.idle_ns = 120e6;
  device.total_ns = 420e6;
  device.launches = 1000;
  device.uploads = 180;
  device.downloads = 40;
  device.waits = 1;
  profile.device = device;
  log.profile(profile);
  json on_cpu = {{"kind", "profile"},
                 {"step", 30},
                 {"steps", 20},
                 {"ms_per_step",
                  {{"planning", 1.0},
                   {"forward", 2.0},
                   {"backward", 3.0},
                   {"optimizer", 4.0},
                   {"exchange", 5.0},
                   {"total", 15.0}}},
                 {"device_ms_per_step", nullptr},
                 {"launches_per_step", nullptr},
                 {"uploads_per_step", nullptr},
                 {"downloads_per_step", nullptr},
                 {"waits_per_step", nullptr}};
  const std::vector<json> all = lines();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], on_cpu);
  on_cpu["device_ms_per_step"] = {{"planning", 1.0},  {"forward", 2.0},  {"backward", 3.0},
                                  {"optimizer", 4.0}, {"exchange", 5.0}, {"idle", 6.0},
                                  {"total", 21.0}};
  on_cpu["launches_per_step"] = 50.0;
  on_cpu["uploads_per_step"] = 9.0;
  on_cpu["downloads_per_step"] = 2.0;
  on_cpu["waits_per_step"] = 0.05;
  EXPECT_EQ(all[1], on_cpu);
}

TEST_F(MetricsLogTest, DropsWhatAnEarlierAttemptWroteOfLaterSteps) {
  {
    MetricsLog log(run_dir_, 0);
    for (const int step : {10, 20, 30}) {
      log.step(record(step));
      if (step == 20) log.save({.name = "step-000000000020", .step = step});
    }
    log.end(30, "interrupted", 3);
  }
  MetricsLog log(run_dir_, 20);
  log.step(record(30));
  EXPECT_EQ(kinds_and_steps(), (std::vector<std::pair<std::string, int>>{
                                   {"step", 10}, {"step", 20}, {"save", 20}, {"step", 30}}));
  EXPECT_FALSE(std::filesystem::exists(MetricsLog::path_in(run_dir_) + ".writing"));
}

TEST_F(MetricsLogTest, DropsALineThatACrashCutOff) {
  { MetricsLog(run_dir_, 0).step(record(10)); }
  std::ofstream(MetricsLog::path_in(run_dir_), std::ios::app) << R"({"kind":"step","step":1)";
  MetricsLog log(run_dir_, 15);
  log.step(record(20));
  EXPECT_EQ(kinds_and_steps(),
            (std::vector<std::pair<std::string, int>>{{"step", 10}, {"step", 20}}));
}

TEST_F(MetricsLogTest, DropsAValidationThatIsDoneAgain) {
  const auto kept_where = [&](bool repeats_validation) {
    {
      MetricsLog log(run_dir_, 0);
      log.validation(1, 10, {0.04, {}}, true, kReport);
      log.step(record(20));
      log.validation(2, 20, {0.05, {}}, true, kReport);
    }
    const MetricsLog log(run_dir_, 20, repeats_validation);
    return kinds_and_steps();
  };
  using Kept = std::vector<std::pair<std::string, int>>;
  EXPECT_EQ(kept_where(true), (Kept{{"validation", 10}, {"step", 20}}));
  EXPECT_EQ(kept_where(false), (Kept{{"validation", 10}, {"step", 20}, {"validation", 20}}));
}

TEST_F(MetricsLogTest, StartsAnewForANewRun) {
  { MetricsLog(run_dir_, 0).step(record(10)); }
  const MetricsLog log(run_dir_, 0);
  EXPECT_TRUE(lines().empty());
}

TEST_F(MetricsLogTest, KeepsTheResumesThatLedToWhereItGoesOn) {
  { MetricsLog(run_dir_, 0).step(record(10)); }
  {
    MetricsLog log(run_dir_, 10);
    log.resume(10, "step-000000000010", {ChangedSetting{"lr", "0.01", "0.001"}});
    log.step(record(20));
  }
  for (const char* attempt : {"died before it saved", "goes on"}) {
    MetricsLog log(run_dir_, 20);
    log.resume(20, "step-000000000020", {});
    EXPECT_EQ(kinds_and_steps(), (std::vector<std::pair<std::string, int>>{
                                     {"step", 10}, {"resume", 10}, {"step", 20}, {"resume", 20}}))
        << attempt;
  }
  EXPECT_EQ(lines()[1], json({{"kind", "resume"},
                              {"step", 10},
                              {"checkpoint", "step-000000000010"},
                              {"changed", {{"lr", {{"before", "0.01"}, {"now", "0.001"}}}}}}));
  EXPECT_EQ(lines()[3]["changed"], json::object());
}

TEST_F(MetricsLogTest, WritesNumbersThatAreNotFiniteAsNull) {
  MetricsLog log(run_dir_, 0);
  StepRecord diverged = record(10);
  diverged.loss = std::nan("");
  log.step(diverged);
  EXPECT_TRUE(lines().at(0)["loss"].is_null());
}

TEST_F(MetricsLogTest, NamesAFileThatCannotBeWritten) {
  expect_error(Cause::io, {"/nowhere/metrics.jsonl"},
               [&] { MetricsLog(run_dir_ + "/nowhere", 0); });
}

}  // namespace
}  // namespace micrec
