#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "data/dataset_file.h"
#include "data/dataset_writer.h"
#include "data/preparation.h"
#include "data/synthetic.h"
#include "io/hdf5.h"
#include "launcher/commands.h"
#include "launcher/program.h"
#include "tests/launcher/run_here.h"
#include "tests/support/expect_error.h"
#include "tests/support/feature_file.h"
#include "tests/support/temporary_folder.h"
#include "train/log/metrics_log.h"
#include "train/log/progress.h"
#include "train/trainer.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

class Inspect : public ::testing::Test {
 protected:
  // What `micrec inspect PATH` prints, after its exit code has been compared.
  static std::string inspect(const std::string& path, int expected_code = 0) {
    const auto [code, out, err] = run_here({"inspect", path}, {inspect_command()});
    EXPECT_EQ(code, expected_code) << out << err;
    EXPECT_EQ(err.empty(), code == 0) << err;
    return out + err;
  }

  void save_checkpoints(const std::string& run_dir) {
    SelfCommunicator self;
    CheckpointStore store(run_dir + "/checkpoints", self);
    CheckpointTensor table;
    table.name = "templates";
    table.description = "rows of the templates";
    table.value = at::zeros({3, 4});
    table.adam_m = at::zeros({3, 4});
    table.adam_v = at::zeros({3, 4});
    table.sharded = true;
    CheckpointInfo info;
    info.config = "--model=micrec\n--dim=4\n";
    info.dataset_path = "fk.h5";
    info.dataset_fingerprint = "0123456789abcdef";
    info.grid = "1x1";
    info.extra["seed"] = "7";
    const std::vector<GlobalNode> owned = {GlobalNode{0}, GlobalNode{1}, GlobalNode{2}};
    for (const std::int64_t step : {600, 1200}) {
      info.step = step;
      info.epoch = step / 60;
      info.best_metric = 0.0471;
      info.best_step = 600;
      info.validations_without_improvement = step / 600 - 1;
      store.save(info, owned, {table}, {.is_best = step == 600});
    }
  }

  const TemporaryFolder folder_;
};

TEST_F(Inspect, DescribesADataset) {
  SyntheticOptions options;
  options.users = 60;
  options.items = 40;
  options.interactions = 600;
  options.modalities = {{"text", 8}};
  options.missing = 0.25;
  const SyntheticWorld world(options);
  PreparationOptions preparation;
  preparation.split = parse_split_rule("ratio:8:1:1");
  preparation.hold_out = parse_hold_out("users:0.2");
  preparation.provenance = "micrec synth --users=60";
  std::ostringstream report;
  const PreparedDataset dataset = prepare(
      {world.domain(0), world.domain(1)}, preparation,
      [&](const PreparedDomain& domain) { return world.features(domain); }, report);
  const std::string path = folder_ / "sample.h5";
  const std::string fingerprint = write_dataset(dataset, path);
  const std::vector<std::uint8_t> is_new = DatasetFile::open(path).new_users(0);
  const auto held_out = std::count(is_new.begin(), is_new.end(), 1);
  ASSERT_GT(held_out, 0);
  expect_has(
      inspect(path),
      {path + ": a dataset", fingerprint, "micrec synth --users=60", "ratio:8:1:1", "users:0.2",
       "domain " + world.domain_name(0), "domain " + world.domain_name(1), " train, ", " valid, ",
       " test", " later", "8 columns, for ", std::to_string(held_out) + " of 60 users (", "overlap",
       "are among the 60 users of "});
}

TEST_F(Inspect, DescribesAFeatureFile) {
  const std::string path = folder_ / "food_text.h5";
  write_feature_file(path, {"bread", "milk", "salt"}, 2,
                     std::vector<float>{3, 4, 0, 0, 6, 8}.data());
  expect_has(inspect(path),
             {"features of items", "items         3", "columns       2", "all finite",
              "length of a row 5", "1 row of zeros", "bread milk salt"});
}

TEST_F(Inspect, RefusesFeaturesThatAreNotFinite) {
  const std::string path = folder_ / "food_text.h5";
  write_feature_file(path, {"bread", "milk"}, 1,
                     std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}.data());
  expect_has(inspect(path, static_cast<int>(Cause::data)), {path, "milk"});
}

TEST_F(Inspect, DescribesExportedEmbeddings) {
  const std::string path = folder_ / "embeddings.h5";
  Hdf5File file = Hdf5File::create(path);
  file.set_attribute("/", "format", "micrec embeddings");
  file.set_attribute("/", "model", "inmo");
  file.set_attribute("/", "checkpoint", "step-000000000600");
  file.set_attribute("/", "dataset_fingerprint", "abc");
  file.write_text("/domains/food/users/key", {"ann", "bob"});
  file.write("/domains/food/users/embedding", std::vector<float>(6).data(), {2, 3});
  file.write_text("/domains/food/items/key", {"milk"});
  file.write("/domains/food/items/embedding", std::vector<float>(3).data(), {1, 3});
  file.close();
  expect_has(inspect(path), {"exported embeddings", "inmo", "step-000000000600", "abc",
                             "domain food   2 users, 1 items, 3 columns"});
}

TEST_F(Inspect, DescribesACheckpoint) {
  save_checkpoints(folder_.path());
  const std::string path = folder_ / "checkpoints/step-000000001200";
  const std::vector<std::string> parts = {
      path + ": a checkpoint",
      "1,200 steps, 20 epochs",
      "0.047100 at step 600",
      "1 validation since",
      "1 rank in a grid of 1x1",
      "fk.h5 (0123456789abcdef)",
      "seed          7",
      "--model=micrec --dim=4",
      "1 file, every byte",
      "templates: 3 x 4 float32, a row a node, trained; rows of the templates"};
  expect_has(inspect(path), parts);
  expect_has(inspect(path + "/shard-00000.h5"), parts);
}

TEST_F(Inspect, NamesADamagedCheckpoint) {
  save_checkpoints(folder_.path());
  const std::string shard = folder_ / "checkpoints/step-000000001200/shard-00000.h5";
  fs::resize_file(shard, fs::file_size(shard) - 1);
  expect_has(
      inspect(folder_ / "checkpoints/step-000000001200", static_cast<int>(Cause::checkpoint)),
      {shard, "is damaged"});
  expect_has(inspect(folder_.path()),
             {"step-000000000600: epoch 10", ", the best", "step-000000001200", "cannot be used",
              "shard-00000.h5 is damaged"});
}

TEST_F(Inspect, DescribesARun) {
  save_checkpoints(folder_.path());
  folder_.write("config.txt", "--model=micrec\n--dim=4\n");
  {
    MetricsLog log(folder_.path(), 0);
    StepRecord record;
    record.step = 1150;
    record.loss = 0.5;
    record.triples_per_second = 1000;
    log.step(record);
    for (const std::int64_t step : {600, 1200}) {
      log.validation(step / 60, step, {0.0471, {}}, step == 600, nlohmann::ordered_json::object());
    }
  }
  expect_has(
      inspect(folder_.path()),
      {folder_.path() + ": a run", "1,200 steps, 20 epochs", "--model=micrec --dim=4", "3 lines",
       "1,150: loss 0.50000, 1000 triples/s", "step 600: 0.04710, the best until then",
       "step 1,200: 0.04710\n", "it is running, or it was cut off", "2 checkpoints",
       "step-000000000600: epoch 10", "from 1 rank, the best", "step-000000001200: epoch 20"});
  MetricsLog log(folder_.path(), 1200);
  log.result("test", 600, {{"mean", {{"ndcg@20", 0.0463}}}});
  log.end(1200, "finished", 75);
  expect_has(inspect(folder_.path()), {"ndcg@20 0.04630", "finished after step 1,200, 1 min 15 s"});
  expect_has(inspect(folder_ / "checkpoints"), {"2 checkpoints", "step-000000001200: epoch 20"});
}

TEST_F(Inspect, DescribesSemanticNeighbours) {
  const std::string path = neighbour_file_of(folder_.path(), "text");
  SelfCommunicator self;
  CoefficientOrigin origin{"0123456789abcdef", R"({"modality":"text","neighbors":10})"};
  origin.format = kSemanticNeighboursFormat;
  write_coefficients(path, 2, std::vector<std::int32_t>{0, 1}, {{0, 1, 2}, {1, 0}, {1, 1}}, origin,
                     self);
  expect_has(inspect(path), {path + ": semantic neighbours", "neighbours    2 of 2 items",
                             R"(modality="text" neighbors=10)"});
}

TEST_F(Inspect, DescribesAnItemRegression) {
  const std::string path = folder_ / "item_regression.h5";
  SelfCommunicator self;
  CheckpointInfo info;
  info.grid = "1x1";
  info.step = 600;
  info.item_regression = write_coefficients(path, 3, std::vector<std::int32_t>{0, 1, 2},
                                            {{0, 1, 1, 3}, {1, 0, 1}, {0.5F, 1, 2}},
                                            {"0123456789abcdef", R"({"lambda": 150})"}, self);
  CheckpointStore(folder_ / "checkpoints", self).save(info, {}, {});
  const std::vector<std::string> parts = {"3 of 3 items", "bytes each",
                                          "a dataset with fingerprint 0123456789abcdef",
                                          "made with     lambda=150"};
  expect_has(inspect(folder_.path()), parts);
  const std::string checkpoint = folder_ / "checkpoints/step-000000000600";
  expect_has(inspect(checkpoint), {"coefficients  " + path});
  expect_has(inspect(path), parts);
  expect_has(inspect(path), {path + ": the coefficients of an item regression", "at most 2 an item",
                             "every number, as the file's own checksums say"});

  const auto value = Hdf5File::open(path).offset_in_file("/value").value();
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(value).put(7);
  const int damaged = static_cast<int>(Cause::checkpoint);
  expect_has(inspect(path, damaged), {path, "is damaged: /value is not what was written"});
  expect_has(inspect(checkpoint, damaged), {path, "cannot be used", "its checksum is", "/value"});
  expect_has(inspect(folder_.path()), {"3 of 3 items"});
  fs::resize_file(path, 100);
  const std::string told = inspect(folder_.path());
  expect_has(told, {"coefficients  unknown: " + path, "cut off", "put the run's own file back"});
  EXPECT_EQ(told.find("make or fetch it again"), std::string::npos) << "one piece of advice";
  fs::remove(path);
  expect_has(inspect(folder_.path()), {"coefficients  MISSING: " + path, "fit anew"});
}

TEST_F(Inspect, DescribesARunThatHasNotSavedYet) {
  folder_.write("config.txt", "--model=mf\n");
  expect_has(inspect(folder_.path()),
             {"nothing is saved yet", "--model=mf", "none yet", "0 checkpoints"});
}

TEST_F(Inspect, SaysWhatItExpectsOfAnythingElse) {
  const int data = static_cast<int>(Cause::data);
  expect_has(inspect(folder_ / "nothing", static_cast<int>(Cause::io)), {folder_ / "nothing"});
  expect_has(inspect(folder_.path(), data),
             {folder_.path(), "without a run or a checkpoint", "expected a dataset"});
  fs::create_directory(folder_ / "checkpoints");  // of some other program
  expect_has(inspect(folder_.path(), data), {folder_.path(), "without a run or a checkpoint"});
  const std::string csv = folder_.write("food.csv", "user_id,item_id\n");
  expect_has(inspect(csv, data), {csv, "none of what inspect reads", "micrec prepare"});
  expect_has(inspect(folder_.write("empty", ""), data), {"is empty"});
  expect_has(inspect(folder_.write("short", "abc"), data), {"none of what inspect reads"});
  Hdf5File other = Hdf5File::create(folder_ / "other.h5");
  other.write("/weights", std::vector<float>{1, 2});
  other.close();
  expect_has(inspect(folder_ / "other.h5", data),
             {"something else", "weights", "expected a dataset"});
}

}  // namespace
}  // namespace micrec
