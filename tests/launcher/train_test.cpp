#include "run/train.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/run_folder.h"
#include "cluster/signals.h"
#include "cluster/thread_communicator.h"
#include "command_line/flags.h"
#include "tests/launcher/run_config_of.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trained_by_threads.h"

namespace micrec {
namespace {

using nlohmann::json;

/// Whole runs whose ranks are threads of this process.
class Train : public testing::Test {
 protected:
  Train() : dataset_(folder_ / "world.h5") {
    write_small_world({.domains = 2, .users = 40, .items = 30}, dataset_);
  }

  /// What these words configure.
  RunConfig config_of(const std::string& run, std::vector<std::string> words) {
    words.insert(words.begin(), "--run_dir=" + folder_ / run);
    return run_config_of(words);
  }

  RunConfig new_run(const std::string& run, std::vector<std::string> more) {
    std::vector<std::string> words = {"--dataset=" + dataset_,
                                      "--dim=8",
                                      "--layers=2",
                                      "--batch=32",
                                      "--feature_dim=4",
                                      "--semantic_neighbors=3",
                                      "--contrastive_batch=8",
                                      "--dropout=0.1",
                                      "--lr=0.01",
                                      "--log_every=1",
                                      "--seed=5",
                                      "--validate_every_steps=4",
                                      "--max_steps=10",
                                      "--nowatchdog"};
    words.insert(words.end(), more.begin(), more.end());
    return config_of(run, std::move(words));
  }

  int train_on(int ranks, const RunConfig& config) {
    return micrec::train_on(ranks, config, said_);
  }

  std::vector<json> lines(const std::string& run, const std::string& kind) {
    return lines_of(folder_ / run, kind);
  }

  TemporaryFolder folder_;
  std::string dataset_;
  std::string said_;
};

TEST_F(Train, InterruptedAtFourRanksAndResumedHasTheBitsOfOneRank) {
  ASSERT_EQ(train_on(1, new_run("one", {"--reproducible"})), 0) << said_;
  ASSERT_EQ(train_on(4, new_run("four", {"--reproducible", "--grid=2x2", "--max_steps=6"})), 0);
  ASSERT_EQ(train_on(4, config_of("four", {"--resume", "--max_steps=10", "--nowatchdog"})), 0);
  expect_has(said_, {"resumed   from step-000000000006", "4 with 1 thread each, grid 2x2"});
  for (const char* kind : {"step", "test"}) {
    const std::vector<json> expected = lines("one", kind);
    EXPECT_EQ(expected.size(), std::string(kind) == "step" ? 10U : 1U);
    EXPECT_EQ(lines("four", kind), expected);
  }
  for (const json& validation : lines("one", "validation")) {
    const std::vector<json> resumed = lines("four", "validation");
    EXPECT_NE(std::find(resumed.begin(), resumed.end(), validation), resumed.end()) << validation;
  }
  EXPECT_EQ(lines("four", "resume").size(), 1U);
}

TEST_F(Train, OnAPlannedGridLosesWhatOneRankLoses) {
  ASSERT_EQ(train_on(1, new_run("one", {})), 0) << said_;
  ASSERT_EQ(train_on(4, new_run("four", {"--partition=metis"})), 0) << said_;
  expect_has(said_, {"a training step sends"});
  const std::vector<json> one = lines("one", "step");
  const std::vector<json> four = lines("four", "step");
  ASSERT_EQ(one.size(), four.size());
  for (std::size_t step = 0; step < one.size(); ++step) {
    for (const char* loss : {"loss", "ranking", "self", "contrastive"}) {
      const double expected = one[step][loss].get<double>();
      EXPECT_NEAR(four[step][loss].get<double>(), expected, 1e-4 * std::abs(expected)) << loss;
    }
  }
  EXPECT_GT(lines("four", "ledger").size(), 0U);
}

TEST_F(Train, AChangedSettingIsToldWhereItMayChangeAndRefusedWhereNot) {
  ASSERT_EQ(train_on(2, new_run("run", {"--max_steps=3"})), 0) << said_;
  const RunConfig resumed = config_of(
      "run", {"--resume", "--max_steps=5", "--lr=0.002", "--keep_last=1", "--nowatchdog"});
  EXPECT_EQ(resumed.model.dim, 8) << "the run's, not the flag's default";
  ASSERT_EQ(train_on(3, resumed), 0) << said_;
  expect_has(said_, {"changed   --lr=0.002, until here 0.01"});
  const std::string config = file_contents(folder_ / "run/config.txt");
  EXPECT_TRUE(config.starts_with("# from step 3 on: --lr=0.002, before it 0.01\n")) << config;
  EXPECT_EQ(config.find("--max_steps=5, before"), std::string::npos) << "nothing decays to it";
  EXPECT_EQ(lines("run", "resume")[0]["changed"].size(), 1U);
  const std::string refusal = refusal_of(Cause::usage, [&] {
    config_of("run", {"--resume", "--dim=16", "--batch=32"});
  });
  expect_has(refusal, {"--dim=16 (the run has 8)"});
  EXPECT_EQ(refusal.find("--batch"), std::string::npos) << refusal;
}

TEST_F(Train, ResumesWithTheSettingsOfItsConfigAndRefusesAnEndThatItHasPassed) {
  ASSERT_EQ(train_on(1, new_run("run", {"--max_steps=3"})), 0) << said_;
  const std::string moved = folder_ / "moved.h5";
  std::filesystem::rename(dataset_, moved);
  ASSERT_EQ(train_on(1, config_of("run", {"--resume", "--dataset=" + moved, "--nowatchdog"})), 0)
      << said_;
  EXPECT_EQ(config_of("run", {"--resume"}).dataset, moved) << "though nothing was saved since";

  for (const std::string end : {"--max_steps=2", "--epochs=0"}) {
    const RunConfig ended = config_of("run", {"--resume", end, "--nowatchdog"});
    expect_error(Cause::usage, {end + ": the run is at step 3 already"},
                 [&] { train_on(2, ended); });
  }
  std::string settings = file_contents(folder_ / "run/config.txt");
  settings.replace(settings.find("--dim=8"), 7, "--dim=16");
  folder_.write("run/config.txt", settings);
  const RunConfig wider = config_of("run", {"--resume", "--nowatchdog"});
  expect_error(Cause::checkpoint, {"--dim=16 (the checkpoint has 8)"}, [&] { train_on(2, wider); });
  folder_.write("run/config.txt", "");
  expect_error(Cause::checkpoint, {"run/config.txt names no --dataset"},
               [&] { config_of("run", {"--resume"}); });
  std::filesystem::remove(folder_ / "run/config.txt");
  EXPECT_EQ(config_of("run", {"--resume"}).model.dim, 8) << "of the checkpoint";
}

TEST_F(Train, InitFromKeepsTheColumnsOfTheRun) {
  ASSERT_EQ(train_on(1, new_run("run", {"--max_steps=2"})), 0) << said_;
  expect_error(Cause::usage, {"--dim=16 (the run has 8)"}, [&] {
    new_run("wider", {"--init_from=" + (folder_ / "run"), "--dim=16"});
  });
}

TEST_F(Train, RanksRefuseACheckpointOfOtherSettingsOrAnotherDataset) {
  ASSERT_EQ(train_on(1, new_run("run", {"--max_steps=2"})), 0) << said_;
  RunConfig other = config_of("run", {"--resume", "--nowatchdog"});
  other.settings.clear();
  other.settings.push_back({"seed", "6", OnResume::kept});
  other.settings.push_back({"epochs", "7", OnResume::may_change});
  expect_error(Cause::checkpoint, {"other settings: --seed=6 (the checkpoint has 5); "},
               [&] { train_on(2, other); });
  RunConfig moved = config_of("run", {"--resume", "--nowatchdog"});
  moved.dataset = folder_ / "other.h5";
  write_small_world({.domains = 2, .users = 40, .items = 30, .seed = 9}, moved.dataset);
  expect_error(Cause::checkpoint, {"dataset " + moved.dataset}, [&] { train_on(2, moved); });
  const RunConfig third = new_run("run2", {"--grid=3x1"});
  expect_error(Cause::usage, {"--grid=3x1"}, [&] { train_on(2, third); });
}

TEST_F(Train, ItemRegressionIsFittedOnceWithTheSameBytesOnAnyRanks) {
  ASSERT_EQ(train_on(1, new_run("one", {"--max_steps=4"})), 0) << said_;
  expect_has(said_, {"coefficients, fitted in"});
  const std::string file = file_contents(folder_ / "one/item_regression.h5");
  ASSERT_GT(file.size(), 1000U);
  ASSERT_EQ(train_on(3, new_run("three", {"--max_steps=4"})), 0) << said_;
  EXPECT_EQ(file_contents(folder_ / "three/item_regression.h5"), file);
  ASSERT_EQ(train_on(4, new_run("grid", {"--max_steps=4", "--grid=2x2"})), 0) << said_;
  EXPECT_EQ(file_contents(folder_ / "grid/item_regression.h5"), file);

  ASSERT_EQ(train_on(2, config_of("one", {"--resume", "--max_steps=8", "--nowatchdog"})), 0);
  EXPECT_EQ(said_.find("fitted in"), std::string::npos) << "it is read: " << said_;
  EXPECT_EQ(file_contents(folder_ / "one/item_regression.h5"), file);
  const json validation = lines("one", "validation").back();
  for (const auto& [domain, tried] : validation["item_regression"].items()) {
    EXPECT_GE(tried.size(), 2U) << domain;
    EXPECT_EQ(tried[0]["weight"], 0) << domain;
  }

  std::string damaged = file;
  damaged[file.size() / 2] ^= 1;
  folder_.write("one/item_regression.h5", damaged);
  const RunConfig resumed = config_of("one", {"--resume", "--max_steps=9", "--nowatchdog"});
  expect_error(Cause::checkpoint, {"one/item_regression.h5"}, [&] { train_on(2, resumed); });
}

TEST_F(Train, ValidatesASampleOfUsersTheSameOnAnyRanks) {
  const std::vector<std::string> words = {"--validate_users=6", "--reproducible"};
  ASSERT_EQ(train_on(1, new_run("one", words)), 0) << said_;
  expect_has(said_, {" +-0.", "validation of all users, step-"});
  const std::vector<json> one = lines("one", "validation");
  ASSERT_GE(one.size(), 3U);
  for (const json& line : one) {
    EXPECT_GT(line["margin"], 0);
    for (const auto& [domain, sample] : line["sample"].items()) {
      EXPECT_EQ(sample["users"], 6) << domain;
      EXPECT_GT(sample["of"], 6) << domain;
      EXPECT_EQ(line["domains"][domain]["slices"]["all"]["users"], 6) << domain;
    }
  }
  for (const int ranks : {2, 3}) {
    const std::string run = text("on", ranks);
    ASSERT_EQ(train_on(ranks, new_run(run, words)), 0) << said_;
    for (const char* kind : {"validation", "validation_of_all", "test"}) {
      EXPECT_EQ(lines(run, kind), lines("one", kind)) << ranks;
    }
  }
  // The result is validated on all, with weights that are chosen on all.
  const json of_all = lines("one", "validation_of_all").at(0);
  const json test = lines("one", "test").at(0);
  EXPECT_EQ(of_all["step"], test["step"]);
  EXPECT_EQ(of_all["split"], "valid");
  for (const auto& [domain, report] : of_all["domains"].items()) {
    EXPECT_GT(report["slices"]["all"]["users"], 6) << domain;
  }
  ASSERT_EQ(train_on(1, new_run("whole", {"--reproducible"})), 0) << said_;
  EXPECT_TRUE(lines("whole", "validation_of_all").empty());
  for (const json& whole : lines("whole", "validation")) {
    EXPECT_FALSE(whole.contains("margin"));
    if (whole["step"] != test["step"]) continue;
    for (const json& line : one) {
      if (line["step"] != whole["step"]) continue;
      EXPECT_EQ(line["item_regression"], whole["item_regression"]);
    }
  }

  ASSERT_EQ(train_on(2, config_of("one", {"--resume", "--max_steps=12", "--nowatchdog"})), 0);
  EXPECT_EQ(lines("one", "validation").size(), one.size() + 1);
  EXPECT_EQ(lines("one", "validation_of_all").size(), 1U);
  expect_error(Cause::usage, {"--validate_users=7 (the run has 6)"}, [&] {
    config_of("one", {"--resume", "--validate_users=7"});
  });
  ASSERT_EQ(train_on(1, new_run("tested", {"--validate_users=6", "--test_users=7"})), 0) << said_;
  expect_has(said_, {"validation of --test_users, step-"});
  for (const char* kind : {"validation_of_all", "test"}) {
    const json line = lines("tested", kind).at(0);
    for (const auto& [domain, sample] : line.at("sample").items()) {
      EXPECT_EQ(sample["users"], 7) << kind << ", " << domain;
      EXPECT_EQ(line["domains"][domain]["slices"]["all"]["users"], 7) << kind << ", " << domain;
    }
  }
  ASSERT_EQ(train_on(1, new_run("plain", {"--validate_users=6", "--model=lightgcn"})), 0) << said_;
  EXPECT_GT(lines("plain", "validation")[0]["margin"], 0);
}

TEST_F(Train, ItemRegressionIsLeftOutOrAlone) {
  ASSERT_EQ(train_on(1, new_run("off", {"--item_regression=off"})), 0) << said_;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "off/item_regression.h5"));
  EXPECT_EQ(said_.find("no effect"), std::string::npos) << said_;
  ASSERT_EQ(train_on(1, new_run("mf", {"--model=mf"})), 0) << said_;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "mf/item_regression.h5"));
  EXPECT_TRUE(
      said_.starts_with("--layers has no effect with --model=mf\n"
                        "--dropout has no effect with --model=mf\n"
                        "--feature_dim has no effect with --model=mf\n"))
      << said_;
  ASSERT_EQ(train_on(1, new_run("joint", {"--model=mf", "--item_regression=auto"})), 0) << said_;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "joint/item_regression.h5"));
  EXPECT_EQ(lines("joint", "step"), lines("mf", "step")) << "the steps know nothing of it";

  ASSERT_EQ(train_on(1, new_run("kind", {"--model=item_regression"})), 0) << said_;
  expect_has(said_, {"model     item_regression, without embeddings\n"});
  for (const char* part : {"loss", "triples/s"}) {
    EXPECT_EQ(said_.find(part), std::string::npos) << said_;
  }
  ASSERT_EQ(train_on(2, new_run("alone", {"--item_regression=alone"})), 0) << said_;
  EXPECT_EQ(lines("kind", "test"), lines("alone", "test"));
  EXPECT_EQ(lines("kind", "step").size(), 1U);
  EXPECT_GT(lines("kind", "test")[0]["mean"]["ndcg@20"].get<double>(), 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--model=mf", "--item_regression=alone"},
        {"--model=item_regression", "--item_regression=off"}}) {
    expect_error(Cause::usage, {"do not go together"}, [&] { new_run("no", words); });
  }
}

TEST_F(Train, SettingsOfItemRegressionCanBeGiven) {
  const std::vector<std::string> given = {"--regression_lambda=3,7", "--regression_alpha=0.5",
                                          "--regression_cross=0", "--regression_weight=2"};
  ASSERT_EQ(train_on(1, new_run("given", given)), 0) << said_;
  expect_has(said_, {"; given, or the defaults"});
  const json chosen = json::parse(
      look_at_coefficients(folder_ / "given/item_regression.h5").origin.settings)["chosen"];
  ASSERT_EQ(chosen.size(), 2U);
  std::vector<double> lambdas;
  for (const auto& [domain, of_domain] : chosen.items()) {
    lambdas.push_back(of_domain["lambda"]);
    EXPECT_EQ(of_domain["cross"], 0) << domain;
    EXPECT_EQ(of_domain["alpha"]["text"], 0.5) << domain;
  }
  EXPECT_EQ(lambdas, (std::vector<double>{3, 7}));
  for (const auto& [domain, tried] : lines("given", "validation")[0]["item_regression"].items()) {
    ASSERT_EQ(tried.size(), 1U) << domain;
    EXPECT_EQ(tried[0]["weight"], 2) << domain;
  }
  for (const char* flag : {"--regression_lambda=1,2,3", "--regression_weight=1,2,3"}) {
    const RunConfig refused = new_run(std::string("no") + flag[14], {flag});
    expect_error(Cause::usage, {"3 values"}, [&] { train_on(1, refused); });
  }
}

TEST_F(Train, ResumedBeforeItsFirstCheckpointItBeginsAgain) {
  ASSERT_EQ(train_on(1, new_run("whole", {"--reproducible"})), 0) << said_;
  // What is there of a run that died while it loaded: its settings.
  ASSERT_EQ(train_on(1, new_run("died", {"--reproducible", "--max_steps=2"})), 0) << said_;
  for (const char* left : {"died/checkpoints", "died/metrics.jsonl"}) {
    std::filesystem::remove_all(folder_ / left);
  }
  expect_error(Cause::usage, {"--dim=16 (the run has 8)"}, [&] {
    config_of("died", {"--resume", "--dim=16"});
  });
  ASSERT_EQ(train_on(2, config_of("died", {"--resume", "--max_steps=10", "--nowatchdog"})), 0);
  expect_has(said_, {"resumed   from the beginning, as the run had ended before its first "
                     "checkpoint, with the settings of its config.txt"});
  EXPECT_EQ(lines("died", "resume").size(), 0U);
  for (const char* kind : {"step", "test"}) {
    EXPECT_FALSE(lines("died", kind).empty());
    EXPECT_EQ(lines("died", kind), lines("whole", kind));
  }
}

TEST_F(Train, ResumedWithNeitherSettingsNorCheckpointsItIsRefused) {
  std::filesystem::create_directories(folder_ / "empty");
  const auto resume = [&] { config_of("empty", {"--resume"}); };
  expect_error(Cause::checkpoint, {"holds no checkpoint to go on from"}, resume);
  // Checkpoints that were saved once are not made again unasked.
  ASSERT_EQ(train_on(1, new_run("empty", {"--max_steps=2"})), 0) << said_;
  std::filesystem::remove_all(folder_ / "empty/checkpoints");
  expect_error(Cause::checkpoint, {"tells of 'step-000000000002'"}, resume);
}

TEST_F(Train, ADryRunSaysThePlanAndLeavesNothing) {
  ASSERT_EQ(train_on(4, new_run("run", {"--dry_run", "--grid=4x1"})), 0);
  expect_has(said_, {"dataset   ", "model     micrec, 8 columns", "ranks     4 with 1 thread",
                     "rank 3: ", "nonzeros"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(Train, AskedToStopItSavesAndEndsWithItsOwnCode) {
  const RunConfig config = new_run("run", {"--max_steps=1000", "--item_regression=off"});
  const StopSignals signals(config.job.stop_signals);
  raise(SIGTERM);
  ASSERT_EQ(train_on(3, config), kExitStopped) << said_;
  expect_has(said_, {"stopped after step 1 and saved; go on with: micrec train --run_dir="});
  EXPECT_EQ(list_checkpoints(checkpoints_of(config.run_dir)),
            std::vector<std::string>{"step-000000000001"});
  EXPECT_EQ(lines("run", "end")[0]["reason"], "interrupted");
}

TEST_F(Train, AskedToStopWhileItFitsItLeavesWhatAResumeBeginsFrom) {
  const RunConfig config = new_run("run", {"--max_steps=2"});
  const StopSignals signals(config.job.stop_signals);
  raise(SIGTERM);
  ASSERT_EQ(train_on(2, config), kExitStopped) << said_;
  expect_has(said_, {"stopped while item regression was fitted"});
  EXPECT_TRUE(list_checkpoints(checkpoints_of(config.run_dir)).empty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/item_regression.h5"));
  EXPECT_TRUE(config_of("run", {"--resume", "--nowatchdog"}).resume);
}

}  // namespace
}  // namespace micrec
