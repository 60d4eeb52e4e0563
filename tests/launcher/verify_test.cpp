#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "io/hdf5.h"
#include "launcher/commands.h"
#include "launcher/program.h"
#include "run/injected_faults.h"
#include "tests/launcher/run_here.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

class VerifyCommand : public ::testing::Test {
 protected:
  VerifyCommand() {
    SelfCommunicator self;
    CheckpointStore store(run_dir_ + "/checkpoints", self);
    CheckpointTensor table;
    table.name = "templates";
    table.value = at::zeros({3, 4});
    table.sharded = true;
    const std::vector<GlobalNode> owned = {GlobalNode{0}, GlobalNode{1}, GlobalNode{2}};
    CheckpointInfo info;
    info.grid = "1x1";
    info.step = 10;
    store.save(info, owned, {table}, {.is_best = true});
    info.step = 20;
    store.save(info, owned, {table}, {.commit = Commit::marker});
  }

  // What `micrec verify` prints on both streams, after its exit code has been compared.
  static std::string verify(const std::vector<std::string>& words, int expected_code) {
    std::vector<std::string> all = {"verify"};
    all.insert(all.end(), words.begin(), words.end());
    const auto [code, out, err] = run_here(all, {verify_command()});
    EXPECT_EQ(code, expected_code) << out << err;
    return out + err;
  }

  nlohmann::json report() const {
    return nlohmann::json::parse(std::ifstream(folder_ / "verify.json"));
  }

  // In the values of the table.
  void turn_a_bit(const std::string& checkpoint) const {
    const StoredShard shard = Checkpoint::open(checkpoint).shards()[0];
    const auto values = std::find_if(
        shard.datasets.begin(), shard.datasets.end(),
        [](const StoredDataset& dataset) { return dataset.name == "/tensors/templates/value"; });
    ASSERT_NE(values, shard.datasets.end());
    std::fstream file(checkpoint + "/" + shard.file,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(values->offset + values->bytes / 2);
    file.put('\1');
  }

  TemporaryFolder folder_;
  std::string run_dir_ = folder_ / "run";
};

TEST_F(VerifyCommand, PrintsALineAFileAndWritesJson) {
  const std::string printed = verify({run_dir_, "--out=" + folder_ / "verify.json"}, 0);
  expect_has(printed, {"step-000000000010/manifest.json: whole", "shard-00000.h5: whole",
                       "step-000000000020/shard-00000.h5: whole", "best.json: whole"});
  EXPECT_EQ(std::count(printed.begin(), printed.end(), '\n'), 5);
  EXPECT_EQ(report().at("whole"), true);
  EXPECT_EQ(report().at("checkpoints").size(), 2U);
  EXPECT_EQ(report().at("checkpoints")[1].at("files")[1].at("file"), "shard-00000.h5");
  verify({run_dir_ + "/checkpoints"}, 0);
  verify({run_dir_ + "/checkpoints/step-000000000020"}, 0);
}

TEST_F(VerifyCommand, NamesWhatIsDamagedAndEndsWithSix) {
  const std::string first = run_dir_ + "/checkpoints/step-000000000010";
  turn_a_bit(first);
  expect_has(verify({run_dir_, "--out=" + folder_ / "verify.json"}, 6),
             {first + "/shard-00000.h5: DAMAGED: its checksum is", "/tensors/templates/value",
              "step-000000000020/shard-00000.h5: whole", "1 of 5 files"});
  EXPECT_EQ(report().at("whole"), false);
  EXPECT_EQ(report().at("checkpoints")[0].at("whole"), false);
  EXPECT_EQ(report().at("checkpoints")[1].at("whole"), true);
  expect_has(report().at("checkpoints")[0].at("files")[1].at("damage").dump(), {"checksum"});
  verify({run_dir_ + "/checkpoints/step-000000000010"}, 6);
  verify({run_dir_ + "/checkpoints/step-000000000020"}, 0);

  fs::remove_all(run_dir_ + "/checkpoints/step-000000000010");
  expect_has(verify({run_dir_}, 6), {"best.json: DAMAGED: it names step-000000000010"});
  folder_.write("run/checkpoints/best.json", "{");
  expect_has(verify({run_dir_}, 6), {"best.json: DAMAGED: "});
  fs::remove(run_dir_ + "/checkpoints/step-000000000020/complete");
  expect_has(verify({run_dir_}, 6), {"step-000000000020/manifest.json: DAMAGED", "incomplete"});
}

TEST_F(VerifyCommand, SaysWhichIsTheBestWhereBestJsonIsMissing) {
  SelfCommunicator self;
  CheckpointInfo info;
  info.grid = "1x1";
  info.step = 30;
  info.best_step = 10;
  CheckpointStore(run_dir_ + "/checkpoints", self).save(info, {}, {});
  fs::remove(run_dir_ + "/checkpoints/best.json");
  expect_has(verify({run_dir_}, 0), {"best.json is missing: step-000000000010"});
}

TEST_F(VerifyCommand, ComparesTheItemRegressionThatACheckpointNames) {
  const std::string file = run_dir_ + "/item_regression.h5";
  SelfCommunicator self;
  CheckpointInfo info;
  info.grid = "1x1";
  info.step = 30;
  info.item_regression = write_coefficients(file, 2, std::vector<std::int32_t>{0, 1},
                                            {{0, 1, 1}, {1}, {0.5F}}, {"f", "{}"}, self);
  CheckpointStore(run_dir_ + "/checkpoints", self).save(info, {}, {});
  verify({run_dir_, "--out=" + folder_ / "verify.json"}, 0);
  EXPECT_EQ(report().at("item_regression").at("file"), file);
  EXPECT_EQ(report().at("item_regression").at("whole"), true);

  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(-1, std::ios::end)
      .put(7);
  for (const char* path : {"", "/checkpoints", "/checkpoints/step-000000000030"}) {
    expect_has(verify({run_dir_ + path, "--out=" + folder_ / "verify.json"}, 6),
               {file + ": DAMAGED: its checksum is", "no checkpoint that names " + file,
                "another --run_dir"});
    EXPECT_EQ(report().at("item_regression").at("whole"), false);
  }
  fs::remove(file);
  expect_has(verify({run_dir_}, 6), {file + ": DAMAGED: it is missing"});
}

TEST_F(VerifyCommand, ReadsTheSemanticNeighboursOfARun) {
  const std::string file = neighbour_file_of(run_dir_, "text");
  SelfCommunicator self;
  CoefficientOrigin origin{"f", "{}"};
  origin.format = kSemanticNeighboursFormat;
  write_coefficients(file, 2, std::vector<std::int32_t>{0, 1}, {{0, 1, 1}, {1}, {1}}, origin, self);
  expect_has(verify({run_dir_, "--out=" + folder_ / "verify.json"}, 0), {file + ": whole"});
  EXPECT_EQ(report().at("semantic_neighbours")[0].at("whole"), true);

  const auto value = Hdf5File::open(file).offset_in_file("/value").value();
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(value).put(7);
  expect_has(
      verify({run_dir_, "--out=" + folder_ / "verify.json"}, 6),
      {file + ": DAMAGED: ", "CRC-32", "remove it, or let train --resume", "searched for again"});
  EXPECT_EQ(report().at("semantic_neighbours")[0].at("whole"), false);
}

TEST_F(VerifyCommand, RefusesWhatHoldsNone) {
  fs::create_directories(folder_ / "empty/checkpoints");
  expect_has(verify({folder_ / "empty"}, 6), {"holds no checkpoint"});
  expect_has(verify({folder_ / "nowhere"}, 4), {"nowhere", "not there"});
  expect_has(verify({run_dir_ + "/checkpoints/best.json"}, 4), {"not a folder"});
}

TEST(InjectedFaults, DeathIsReadFromTheEnvironment) {
  unsetenv("MICREC_TEST_DIE_AT");
  EXPECT_FALSE(signals_from_environment(0));
  for (const char* wrong : {"written", "begun:0", "begun:x", "begun:1:2", "begun@x", "@1", ":3"}) {
    setenv("MICREC_TEST_DIE_AT", wrong, 1);
    EXPECT_THROW(signals_from_environment(0), Error) << wrong;
  }
  setenv("MICREC_TEST_DIE_AT", "shard_synced:3@1", 1);
  EXPECT_FALSE(signals_from_environment(0));
  const auto die = [] {
    const auto hook = signals_from_environment(1);
    for (int time = 0; time < 2; ++time) {
      hook(SaveStep::shard_synced);
      hook(SaveStep::renamed);
    }
    std::fputs("twice\n", stderr);
    hook(SaveStep::shard_synced);
    std::exit(0);
  };
  EXPECT_EXIT(die(), ::testing::KilledBySignal(SIGKILL), "twice");
  unsetenv("MICREC_TEST_DIE_AT");
}

}  // namespace
}  // namespace micrec
