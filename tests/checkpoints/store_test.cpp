#include "checkpoints/store.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "base/text.h"
#include "checkpoints/manifest.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "training_state.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kStoredNodes = 50;

std::string save(Communicator& communicator, const std::string& directory, std::int64_t step,
                 const SaveOptions& options = {}) {
  CheckpointStore store(directory, communicator);
  const auto owned = nodes_of_rank(kStoredNodes, communicator.rank(), communicator.size());
  return store.save(state_info(step), owned, state_tensors(owned), options).name;
}

std::vector<std::int64_t> steps_in(const std::string& directory) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : list_checkpoints(directory)) {
    steps.push_back(step_of_checkpoint_name(name));
  }
  return steps;
}

TEST(Store, HasNothingAtFirst) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  const CheckpointStore store(folder / "runs/x/checkpoints", self);
  EXPECT_TRUE(fs::is_directory(folder / "runs/x/checkpoints"));
  EXPECT_EQ(newest_checkpoint(store.directory()), std::nullopt);
  EXPECT_EQ(best_checkpoint(store.directory()), std::nullopt);
  EXPECT_EQ(newest_checkpoint(folder / "nowhere"), std::nullopt);
  EXPECT_EQ(best_checkpoint(folder / "nowhere"), std::nullopt);
}

TEST(Store, LeavesNewestAndBestForAllRanksToSee) {
  const TemporaryFolder folder;
  run_ranks(4, [&](Communicator& communicator) {
    CheckpointStore store(folder / "c", communicator);
    EXPECT_EQ(save(communicator, folder / "c", 10, {.is_best = true}), "step-000000000010");
    save(communicator, folder / "c", 20);
    EXPECT_EQ(newest_checkpoint(store.directory()), folder / "c/step-000000000020");
    EXPECT_EQ(best_checkpoint(store.directory()), folder / "c/step-000000000010");
    save(communicator, folder / "c", 30, {.is_best = true});
    EXPECT_EQ(best_checkpoint(store.directory()), folder / "c/step-000000000030");
  });
  EXPECT_EQ(names_in(folder / "c"),
            (std::vector<std::string>{"best.json", "step-000000000010", "step-000000000020",
                                      "step-000000000030"}));
}

TEST(Store, KeepsTheLastOnesAndTheBest) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  for (const std::int64_t step : {1, 2, 3, 4, 5, 6}) {
    save(self, folder / "c", step, {.is_best = step == 2, .keep_last = 2});
  }
  EXPECT_EQ(steps_in(folder / "c"), (std::vector<std::int64_t>{2, 5, 6}));
  save(self, folder / "c", 7, {.is_best = true, .keep_last = 1});
  EXPECT_EQ(steps_in(folder / "c"), (std::vector<std::int64_t>{7}));
  save(self, folder / "c", 8, {.keep_last = 1});
  EXPECT_EQ(steps_in(folder / "c"), (std::vector<std::int64_t>{7, 8}));
}

TEST(Store, ReplacesACheckpointOfTheSameStep) {
  const TemporaryFolder folder;
  run_ranks(3, [&](Communicator& communicator) { save(communicator, folder / "c", 10); });
  run_ranks(2, [&](Communicator& communicator) { save(communicator, folder / "c", 10); });
  EXPECT_EQ(Checkpoint::open(folder / "c/step-000000000010").shards().size(), 2u);
  EXPECT_EQ(names_in(folder / "c"), std::vector<std::string>{"step-000000000010"});
  EXPECT_EQ(names_in(folder / "c/step-000000000010"),
            (std::vector<std::string>{"manifest.json", "shard-00000.h5", "shard-00001.h5"}));
}

TEST(Store, RemovesTheFutureOfAnEarlierAttempt) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  for (const std::int64_t step : {10, 20, 30, 40}) save(self, folder / "c", step, {.keep_last = 4});
  save(self, folder / "c", 25, {.keep_last = 3});
  EXPECT_EQ(steps_in(folder / "c"), (std::vector<std::int64_t>{10, 20, 25}));
  EXPECT_EQ(newest_checkpoint(folder / "c"), folder / "c/step-000000000025");
}

TEST(Store, NamesABestCheckpointThatARunPublishedAndDiedBeforeNaming) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  save(self, folder / "c", 10, {.is_best = true});
  const auto owned = nodes_of_rank(kStoredNodes, 0, 1);
  CheckpointInfo better = state_info(20);
  better.best_step = 20;
  CheckpointStore(folder / "c", self).save(better, owned, state_tensors(owned));
  EXPECT_EQ(best_checkpoint(folder / "c"), folder / "c/step-000000000010");
  const CheckpointStore store(folder / "c", self);
  EXPECT_EQ(best_checkpoint(folder / "c"), folder / "c/step-000000000020");
}

// As a file system leaves it that cannot exchange two names in one instant.
TEST(Store, GivesACheckpointItsNameBackThatWasAboutToBeReplaced) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  save(self, folder / "c", 10);
  fs::rename(folder / "c/step-000000000010", folder / "c/.step-000000000010.writing.replaced");
  fs::create_directory(folder / "c/.step-000000000010.writing");
  const CheckpointStore store(folder / "c", self);
  EXPECT_EQ(names_in(folder / "c"), std::vector<std::string>{"step-000000000010"});
  EXPECT_EQ(store.open_newest_valid().info().step, 10);
}

TEST(Store, IgnoresAndRemovesWhatADyingRunLeft) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  save(self, folder / "c", 10);
  fs::copy(folder / "c/step-000000000010", folder / "c/.step-000000000020.writing");
  fs::copy(folder / "c/step-000000000010", folder / "c/.step-000000000005.deleting");
  fs::create_directory(folder / "c/step-000000000030");  // no manifest: not a checkpoint
  set_file_contents(folder / "c/notes.txt", "of the user");
  EXPECT_EQ(newest_checkpoint(folder / "c"), folder / "c/step-000000000010");
  save(self, folder / "c", 20);
  EXPECT_EQ(names_in(folder / "c"),
            (std::vector<std::string>{"notes.txt", "step-000000000010", "step-000000000020",
                                      "step-000000000030"}));
}

TEST(Store, NamesADamagedBestFile) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  save(self, folder / "c", 10, {.is_best = true});
  for (const char* contents :
       {"", "{", "[]", "{\"checkpoint\": 3}", "{\"checkpoint\": \"../x\"}"}) {
    set_file_contents(folder / "c/best.json", contents);
    expect_error(Cause::checkpoint, {folder / "c/best.json"},
                 [&] { best_checkpoint(folder / "c"); });
  }
  set_file_contents(folder / "c/best.json", "{\"checkpoint\": \"step-000000000099\"}");
  EXPECT_EQ(best_checkpoint(folder / "c"), std::nullopt);
}

TEST(Store, NamesTheBestWithoutItsFileByTheNewestManifest) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  save(self, folder / "c", 10, {.is_best = true});
  save(self, folder / "c", 20);
  fs::remove(folder / "c/best.json");
  EXPECT_EQ(best_checkpoint(folder / "c"), folder / "c/step-000000000010");
  set_file_contents(folder / "c/step-000000000020/manifest.json", "{");
  EXPECT_EQ(best_checkpoint(folder / "c"), std::nullopt) << "5 is gone, and 20 says nothing";
}

TEST(Store, SaysOnAllRanksWhyADirectoryCannotBeMade) {
  const TemporaryFolder folder;
  set_file_contents(folder / "file", "x");
  run_ranks(3, [&](Communicator& communicator) {
    expect_error(Cause::io, {"rank 0", folder / "file"},
                 [&] { CheckpointStore(folder / "file/checkpoints", communicator); });
  });
}

// Ends this process: 0 if a file size limit that only rank 2 meets is reported by all ranks and
// leaves the earlier checkpoint alone.
[[noreturn]] void save_beyond_the_file_size_limit() {
  const TemporaryFolder folder;
  const std::string directory = folder / "c";
  run_ranks(3, [&](Communicator& communicator) { save(communicator, directory, 10); });

  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = 256 << 10;
  setrlimit(RLIMIT_FSIZE, &limit);
  std::vector<std::string> messages(3);
  run_ranks(3, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::vector<GlobalNode> owned;
    for (std::int32_t i = 0; i < (rank == 2 ? 100'000 : 10); ++i) {
      owned.push_back(GlobalNode{3 * i + rank});
    }
    try {
      CheckpointStore(directory, communicator).save(state_info(20), owned, state_tensors(owned));
    } catch (const Error& error) {
      messages[static_cast<std::size_t>(rank)] = text(name_of(error.cause()), ": ", error.what());
    }
  });
  setrlimit(RLIMIT_FSIZE, &before);

  const bool alike = messages[0] == messages[1] && messages[1] == messages[2];
  const bool clean = names_in(directory) == std::vector<std::string>{"step-000000000010"};
  Checkpoint::open(directory + "/step-000000000010");
  std::cerr << messages[0] << (alike ? "" : " but not on all ranks") << (clean ? "" : " not clean");
  fs::remove_all(folder.path());
  std::_Exit(alike && clean ? 0 : 1);
}

TEST(Store, ReportsAFullDiskOfOneRankOnAllRanks) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(save_beyond_the_file_size_limit(), ::testing::ExitedWithCode(0),
              "file system: checkpoint .*step-000000000020 could not be saved: rank 2: .*"
              "shard-00002.h5.*File too large.*earlier checkpoints are untouched");
}

TEST(Store, ReportsWhatStandsInTheWay) {
  const TemporaryFolder folder;
  run_ranks(2, [&](Communicator& communicator) { save(communicator, folder / "c", 10); });
  set_file_contents(folder / "c/.step-000000000020.writing", "not a directory");
  run_ranks(2, [&](Communicator& communicator) {
    expect_error(Cause::io, {"step-000000000020", "could not be saved", "rank 0"},
                 [&] { save(communicator, folder / "c", 20); });
  });
  EXPECT_EQ(steps_in(folder / "c"), std::vector<std::int64_t>{10});
}

}  // namespace
}  // namespace micrec
