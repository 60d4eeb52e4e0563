#include <algorithm>
#include <mutex>
#include <set>

#include "base/text.h"
#include "checkpoints/manifest.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/save_steps.h"
#include "training_state.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCommittedNodes = 40;

void save_as(Communicator& communicator, const std::string& directory, std::int64_t step,
             const SaveOptions& options) {
  const auto owned = nodes_of_rank(kCommittedNodes, communicator.rank(), communicator.size());
  CheckpointStore(directory, communicator)
      .save(state_info(step), owned, state_tensors(owned), options);
}

// Every checkpoint that has a name is whole, and these are among them.
void expect_whole(const std::string& directory, const std::vector<std::int64_t>& steps) {
  std::set<std::int64_t> whole;
  for (const std::string& name : list_checkpoints(directory)) {
    const Checkpoint checkpoint = Checkpoint::open(directory + "/" + name);
    const auto owned = nodes_of_rank(kCommittedNodes, 0, 1);
    std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
    checkpoint.restore(owned, tensors, true);
    expect_same_bytes(tensors, state_tensors(owned));
    whole.insert(checkpoint.info().step);
  }
  for (const std::int64_t step : steps) EXPECT_TRUE(whole.contains(step)) << step;
}

const std::vector<SaveStep> kSteps = {
    SaveStep::begun,   SaveStep::shard_written, SaveStep::shard_synced, SaveStep::manifest_written,
    SaveStep::renamed, SaveStep::parent_synced, SaveStep::best_named,   SaveStep::old_removed};

class CommitTest : public ::testing::TestWithParam<Commit> {};

TEST_P(CommitTest, ReachesEachInstantOnce) {
  const TemporaryFolder folder;
  std::mutex mutex;
  std::vector<std::vector<SaveStep>> reached(3);
  run_ranks(3, [&](Communicator& communicator) {
    save_as(communicator, folder / "c", 10,
            {.is_best = true, .commit = GetParam(), .on_step = [&](SaveStep step) {
               const std::lock_guard<std::mutex> lock(mutex);
               reached[static_cast<std::size_t>(communicator.rank())].push_back(step);
             }});
  });
  EXPECT_EQ(reached[0], kSteps);
  const std::vector<SaveStep> own(kSteps.begin(), kSteps.begin() + 3);
  EXPECT_EQ(reached[1], own);
  EXPECT_EQ(reached[2], own);
  for (const SaveStep step : kSteps) EXPECT_EQ(parse_save_step(name_of(step)), step);
  EXPECT_EQ(parse_save_step("written"), std::nullopt);
}

// What a process that is killed at an instant leaves is what the directory holds at that instant.
TEST_P(CommitTest, WhatIsThereAtAnyInstantIsWhole) {
  for (const bool is_best : {false, true}) {
    for (const bool replaces : {false, true}) {
      const TemporaryFolder folder;
      const std::string directory = folder / "c";
      SelfCommunicator self;
      save_as(self, directory, 10, {.is_best = true, .commit = GetParam()});
      save_as(self, directory, 20, {.commit = GetParam()});
      if (replaces) save_as(self, directory, 30, {.commit = GetParam()});
      const std::int64_t step = 30;
      int snapshots = 0;
      save_as(
          self, directory, step,
          {.is_best = is_best, .keep_last = 1, .commit = GetParam(), .on_step = [&](SaveStep at) {
             fs::copy(directory, folder / text("at_", name_of(at)), fs::copy_options::recursive);
             ++snapshots;
           }});
      EXPECT_EQ(snapshots, is_best ? 8 : 7);
      for (const SaveStep at : kSteps) {
        const std::string left = folder / text("at_", name_of(at));
        if (!fs::exists(left)) continue;
        SCOPED_TRACE(text(name_of(at), is_best ? ", best" : "", replaces ? ", replacing" : ""));
        const bool published = at >= SaveStep::renamed;
        if (at < SaveStep::old_removed) {
          expect_whole(left, published ? std::vector<std::int64_t>{10, 20, 30}
                                       : std::vector<std::int64_t>{10, 20});
        } else {
          expect_whole(left, {step});
        }
        // Who goes on from there opens the newest, and what is saved next leaves no trace of it.
        CheckpointStore store(left, self);
        const std::int64_t newest = store.open_newest_valid().info().step;
        EXPECT_EQ(newest, published || (replaces && GetParam() == Commit::rename) ? 30 : 20);
        EXPECT_TRUE(best_checkpoint(left).has_value());
        save_as(self, left, 40, {.is_best = true, .keep_last = 1, .commit = GetParam()});
        EXPECT_EQ(names_in(left), (std::vector<std::string>{"best.json", "step-000000000040"}));
        expect_whole(left, {40});
      }
    }
  }
}

TEST_P(CommitTest, AFailureAtAnyInstantLeavesTheOlderOnes) {
  for (const SaveStep at : kSteps) {
    for (const int ranks : {1, 3}) {
      SCOPED_TRACE(text(name_of(at), " at ", ranks, " ranks"));
      const TemporaryFolder folder;
      const std::string directory = folder / "c";
      run_ranks(ranks, [&](Communicator& communicator) {
        save_as(communicator, directory, 10, {.is_best = true, .commit = GetParam()});
        save_as(communicator, directory, 20, {.commit = GetParam()});
        const int failing = at <= SaveStep::shard_synced ? ranks - 1 : 0;
        const auto fail = [&, failing](SaveStep step) {
          if (step == at && communicator.rank() == failing) {
            throw Error(Cause::io, "the disk went away");
          }
        };
        expect_error(Cause::io, {"step-000000000030", "the disk went away"}, [&] {
          save_as(communicator, directory, 30,
                  {.is_best = true, .keep_last = 3, .commit = GetParam(), .on_step = fail});
        });
      });
      expect_whole(directory, {10, 20});
      if (at < SaveStep::renamed) {
        EXPECT_EQ(names_in(directory), (std::vector<std::string>{"best.json", "step-000000000010",
                                                                 "step-000000000020"}));
      }
      SelfCommunicator self;
      save_as(self, directory, 30, {.commit = GetParam()});
      expect_whole(directory, {10, 20, 30});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(BothWays, CommitTest, ::testing::Values(Commit::rename, Commit::marker),
                         [](const auto& info) {
                           return info.param == Commit::marker ? "Marker" : "Rename";
                         });

TEST(Marker, IsTheManifestsChecksumAndMustBeThere) {
  const TemporaryFolder folder;
  const std::string directory = folder / "c";
  const std::string path = directory + "/step-000000000010";
  run_ranks(2, [&](Communicator& communicator) {
    save_as(communicator, directory, 10, {.commit = Commit::marker});
  });
  EXPECT_EQ(names_in(path), (std::vector<std::string>{"complete", "manifest.json", "shard-00000.h5",
                                                      "shard-00001.h5"}));
  const std::string marker = file_contents(path + "/complete");
  EXPECT_EQ(marker, read_manifest(path).checksum + "\n");
  EXPECT_EQ(Checkpoint::open(path).commit(), Commit::marker);

  set_file_contents(path + "/complete", std::string(32, '0') + "\n");
  expect_error(Cause::checkpoint, {path + "/complete", std::string(32, '0'), marker.substr(0, 32)},
               [&] { Checkpoint::open(path); });
  set_file_contents(path + "/complete", "");
  expect_error(Cause::checkpoint, {path + "/complete"}, [&] { Checkpoint::open(path); });
  fs::remove(path + "/complete");
  expect_error(Cause::checkpoint, {path, "incomplete"}, [&] { Checkpoint::open(path); });
  EXPECT_EQ(list_checkpoints(directory).size(), 1U);  // damaged, and named when it is opened
  set_file_contents(path + "/incomplete", "");
  EXPECT_TRUE(list_checkpoints(directory).empty());  // half written
}

TEST(Commit, MayBeChangedFromSaveToSave) {
  const TemporaryFolder folder;
  SelfCommunicator self;
  const std::string directory = folder / "c";
  std::int64_t step = 0;
  for (const Commit commit : {Commit::rename, Commit::marker, Commit::rename, Commit::marker}) {
    step += 10;
    save_as(self, directory, step, {.keep_last = 2, .commit = commit});
    expect_whole(directory, {step});
  }
  EXPECT_EQ(
      list_checkpoints(directory),
      (std::vector<std::string>{"step-000000000020", "step-000000000030", "step-000000000040"}))
      << "and the best, which the manifest of 40 names";
}

}  // namespace
}  // namespace micrec
