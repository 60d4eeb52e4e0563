#include "serve/trained_run.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
#include "data/dataset_writer.h"
#include "io/hdf5.h"
#include "serve/evaluation.h"
#include "tests/support/expect_error.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/optimizer.h"
#include "train/trainer.h"

namespace micrec {
namespace {

constexpr std::int64_t kStepsPerEpoch = 10;
constexpr char kSettings[] = "--model=micrec\n--dim=8\n";

ModelConfig small_config() {
  ModelConfig config;
  config.dim = 8;
  config.layers = 2;
  config.semantic_neighbors = 3;
  config.modalities = {"all"};
  return config;
}

class TrainedRunTest : public testing::Test {
 protected:
  TrainedRunTest() : dataset_(write_small_world({}, path_)) {
    options_.run_dir = folder_ / "run";
    options_.observed = Observed::training;
    options_.read_settings = [](const std::string& settings, const std::string& origin) {
      EXPECT_EQ(settings, kSettings);
      expect_has(origin, {"step-0000000000"});
      return small_config();
    };
  }

  /// Saves the initial model of a seed from two ranks; returns its embeddings, by node.
  /// `best_step`: of the best so far, 0 for none.
  at::Tensor save(std::int64_t step, bool is_best = false, std::int64_t best_step = 0) {
    ModelConfig config = small_config();
    config.modalities = {"image", "text"};
    CheckpointInfo info;
    info.step = step;
    info.best_step = best_step;
    info.config = kSettings;
    info.dataset_path = path_;
    info.dataset_fingerprint = dataset_.fingerprint();
    info.grid = "2x1";
    info.world_size = 2;
    info.extra["steps_per_epoch"] = std::to_string(kStepsPerEpoch);
    at::Tensor z;
    ShardedSetting setting;
    setting.ranks = 2;
    setting.seed = static_cast<std::uint64_t>(step);
    on_ranks(dataset_, config, setting, [&](ModelRank& rank) {
      CheckpointStore store(folder_ / "run/checkpoints", rank.communicator);
      const Optimizer optimizer(rank.model);
      store.save(info, rank.shard.whole_nodes, checkpoint_tensors(rank.model, optimizer),
                 {.is_best = is_best});
      const at::Tensor rows =
          gather_rows(rank, rank.model.embeddings(epoch_of_last_step(step, kStepsPerEpoch)));
      if (rank.communicator.rank() == 0) z = rows;
    });
    return z;
  }

  /// Opens the run on ranks and calls `body` on every one.
  void open(int ranks, const std::function<void(TrainedRun&, Communicator&)>& body) {
    run_ranks(ranks, [&](Communicator& communicator) {
      body(*open_trained_run(options_, communicator), communicator);
    });
  }

  std::string opened() {
    std::string checkpoint;
    open(1, [&](TrainedRun& run, Communicator&) { checkpoint = run.checkpoint; });
    return checkpoint;
  }

  void expect_refused(Cause cause, const std::vector<std::string>& parts) {
    expect_error(cause, parts, [&] { opened(); });
  }

  TemporaryFolder folder_;
  std::string path_ = folder_ / "world.h5";
  DatasetFile dataset_;
  TrainedRunOptions options_;
};

TEST_F(TrainedRunTest, IsTheSavedModelAtAnyNumberOfRanks) {
  const at::Tensor saved = save(25);
  for (const int ranks : {1, 2, 3, 5}) {
    open(ranks, [&](TrainedRun& run, Communicator& communicator) {
      EXPECT_EQ(run.checkpoint, "step-000000000025");
      EXPECT_EQ(run.epoch, 2);
      EXPECT_EQ(run.model->config().modalities, (std::vector<std::string>{"image", "text"}));
      std::vector<std::int64_t> owned;
      for (const GlobalNode node : run.shard.ownership.nodes_of(communicator.rank())) {
        owned.push_back(value(node));
      }
      const at::Tensor z = run.model->embeddings(run.epoch);
      EXPECT_TRUE(at::equal(z, saved.index_select(0, at::tensor(owned, at::kLong))))
          << ranks << " ranks";
    });
  }
}

TEST_F(TrainedRunTest, LetsInWhatWasObservedLater) {
  const at::Tensor saved = save(25);
  options_.observed = Observed::all;
  open(1, [&](TrainedRun& run, Communicator&) {
    const at::Tensor z = run.model->embeddings(run.epoch);
    EXPECT_EQ(z.sizes(), saved.sizes());
    EXPECT_FALSE(at::equal(z, saved));
  });
}

TEST_F(TrainedRunTest, TakesTheCheckpointThatIsAskedFor) {
  save(10);
  save(20);
  EXPECT_EQ(opened(), "step-000000000020") << "none was validated: the newest";
  save(30, /*is_best=*/true);
  save(40);
  EXPECT_EQ(opened(), "step-000000000030");
  options_.checkpoint = "newest";
  EXPECT_EQ(opened(), "step-000000000040");
  options_.checkpoint = "step-000000000020";
  EXPECT_EQ(opened(), "step-000000000020");
}

TEST_F(TrainedRunTest, NamesOtherCheckpointsWhereOneCannotBeUsed) {
  namespace fs = std::filesystem;
  save(10);
  save(20, /*is_best=*/true);
  fs::resize_file(folder_ / "run/checkpoints/step-000000000020/shard-00001.h5", 100);
  expect_refused(Cause::checkpoint,
                 {"shard-00001.h5", "--checkpoint: there are step-000000000010"});
  fs::remove_all(folder_ / "run/checkpoints/step-000000000020");
  expect_refused(Cause::checkpoint, {"best.json names step-000000000020", "not there or incomplete",
                                     "--checkpoint: there are step-000000000010"});
  folder_.write("run/checkpoints/best.json", "{");
  expect_refused(Cause::checkpoint, {"best.json", "there are step-000000000010"});
  options_.checkpoint = "newest";
  EXPECT_EQ(opened(), "step-000000000010");
}

TEST_F(TrainedRunTest, SaysWhereTheBestIsGoneWithItsFile) {
  namespace fs = std::filesystem;
  save(10, /*is_best=*/true, 10);
  save(20, /*is_best=*/false, 10);
  std::ostringstream report;
  options_.report = &report;
  fs::remove(folder_ / "run/checkpoints/best.json");
  EXPECT_EQ(opened(), "step-000000000010") << "the newest names it";
  EXPECT_EQ(report.str(), "");
  fs::remove_all(folder_ / "run/checkpoints/step-000000000010");
  EXPECT_EQ(opened(), "step-000000000020");
  EXPECT_EQ(report.str(),
            "step-000000000020 is taken, the newest: step-000000000010, which "
            "validated best, is not there\n");
}

TEST_F(TrainedRunTest, RefusesWhatItCannotOpen) {
  expect_refused(Cause::checkpoint, {"run/checkpoints holds no checkpoint; train first"});
  save(10);
  options_.out = path_;
  expect_refused(Cause::usage, {"--out", path_});
  options_.out = "";
  options_.dataset = folder_ / "elsewhere.h5";
  expect_refused(Cause::io, {"elsewhere.h5 is not there; give --dataset=FILE"});
  write_small_world({.seed = 2}, options_.dataset);
  expect_refused(
      Cause::checkpoint,
      {"step-000000000010 was trained on a data set with fingerprint " + dataset_.fingerprint(),
       "elsewhere.h5 has "});
  options_.dataset = "";
  options_.run_dir = "";
  expect_refused(Cause::usage, {"no run is named"});
}

TEST_F(TrainedRunTest, RefusesADataSetWithAChangedByte) {
  save(10);
  const std::vector<std::uint8_t> present = dataset_.features_present(0, "text");
  const auto item = std::ranges::find(present, 1) - present.begin();
  const auto place = static_cast<std::streamoff>(
      Hdf5File::open(path_).offset_in_file("/domains/domain0/features/text/value").value() +
      item * dataset_.domains()[0].modalities.back().width * sizeof(float));
  dataset_ = write_small_world({}, folder_ / "other.h5");  // HDF5 keeps what it read of open files
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(place + 2);
  const char byte = static_cast<char>(file.get() ^ 8);
  file.seekp(place + 2);
  file.put(byte);
  file.close();
  expect_refused(Cause::data, {path_, "its contents have the fingerprint"});
}

TEST_F(TrainedRunTest, IsEvaluatedWithTheSameBitsAtAnyNumberOfRanks) {
  save(25);
  options_.observed = Observed::all;
  std::string expected;
  for (const int ranks : {1, 2, 3}) {
    open(ranks, [&](TrainedRun& run, Communicator& communicator) {
      const auto evaluation = evaluate_run(run, Split::test, {5, 10});
      ASSERT_TRUE(evaluation.has_value());
      EXPECT_EQ(evaluation->report.checkpoint, "step-000000000025");
      EXPECT_EQ(evaluation->report.domains[0].candidates, 20) << "new items are ranked too";
      const std::string json = evaluation->report.to_json().dump();
      if (ranks == 1) expected = json;
      EXPECT_EQ(json, expected) << "rank " << communicator.rank();
    });
  }
}

TEST_F(TrainedRunTest, IsEvaluatedOnASampleThatItTellsOf) {
  save(25);
  options_.observed = Observed::all;
  std::string expected;
  for (const int ranks : {1, 2, 3}) {
    open(ranks, [&](TrainedRun& run, Communicator&) {
      const auto all = evaluate_run(run, Split::test, {5, 10});
      const auto sampled = evaluate_run(run, Split::test, {5, 10}, 3);
      ASSERT_TRUE(all.has_value() && sampled.has_value());
      EXPECT_FALSE(all->report.is_of_sample());
      EXPECT_FALSE(all->report.to_json().contains("sample"));
      const nlohmann::ordered_json json = sampled->report.to_json();
      for (const DomainReport& domain : sampled->report.domains) {
        const nlohmann::ordered_json& sample = json.at("sample").at(domain.name);
        EXPECT_EQ(sample.at("users"), 3);
        EXPECT_EQ(sample.at("of"), domain.eligible_users);
        for (const char* margin : {"ndcg@5_margin", "ndcg@10_margin"}) {
          EXPECT_GE(sample.at(margin).get<double>(), 0) << margin;
        }
      }
      for (std::size_t d = 0; d < all->report.domains.size(); ++d) {
        EXPECT_EQ(all->report.domains[d].slices.front().users,
                  sampled->report.domains[d].eligible_users);
      }
      expect_has(sampled->report.to_table(), {"; a sample of 3 of ", " +-0."});
      if (ranks == 1) expected = json.dump();
      EXPECT_EQ(json.dump(), expected) << ranks << " ranks";
    });
  }
}

TEST_F(TrainedRunTest, HasNoEvaluationWhereTheSplitIsEmpty) {
  PreparedDataset world = make_small_world({});
  for (PreparedDomain& domain : world.domains) {
    for (Split& split : domain.split) split = split == Split::valid ? Split::train : split;
  }
  write_dataset(world, path_ = folder_ / "without_valid.h5");
  dataset_ = DatasetFile::open(path_);
  save(25);
  open(1, [&](TrainedRun& run, Communicator&) {
    EXPECT_FALSE(evaluate_run(run, Split::valid, {5}).has_value());
    EXPECT_TRUE(evaluate_run(run, Split::test, {5}).has_value());
  });
}

}  // namespace
}  // namespace micrec
