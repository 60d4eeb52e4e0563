#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <future>
#include <limits>

#include "base/text.h"
#include "checkpoints/manifest.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "training_state.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNodes = 300;

// Ends a save as a training loop does: the ranks sum who is done in a collective of their own.
SavedCheckpoint step_until_saved(CheckpointStore& store, Communicator& communicator) {
  while (true) {
    at::Tensor done = at::full({1}, std::int64_t{store.part_done()}, at::kLong);
    communicator.all_reduce("test.step", done);
    if (done.item<std::int64_t>() != communicator.size()) continue;
    if (const std::optional<SavedCheckpoint> saved = store.advance()) return *saved;
  }
}

void change(std::vector<CheckpointTensor>& tensors) {
  for (CheckpointTensor& tensor : tensors) {
    tensor.value.zero_();
    if (!tensor.adam_m.defined()) continue;
    tensor.adam_m.zero_();
    tensor.adam_v.zero_();
  }
}

void expect_state(const std::string& path) {
  const auto owned = nodes_of_rank(kNodes, 0, 1);
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  Checkpoint::open(path).restore(owned, tensors, true);
  expect_same_bytes(tensors, state_tensors(owned));
}

TEST(BackgroundSave, WritesTheBytesOfTheMomentItWasAskedFor) {
  for (const int ranks : {1, 2, 3}) {
    const TemporaryFolder folder;
    run_ranks(ranks, [&](Communicator& communicator) {
      CheckpointStore store(folder / "c", communicator);
      const auto owned = nodes_of_rank(kNodes, communicator.rank(), ranks);
      for (const std::int64_t step : {10, 20}) {  // the second into the same memory
        std::vector<CheckpointTensor> tensors = state_tensors(owned);
        std::promise<void> changed;
        SaveOptions options;
        options.on_step = [&, wait = changed.get_future().share()](SaveStep at) {
          if (at == SaveStep::begun) wait.wait();  // nothing is written before all has changed
        };
        EXPECT_FALSE(store.saving());
        store.start_save(state_info(step), owned, tensors, options);
        EXPECT_TRUE(store.saving());
        EXPECT_FALSE(store.part_done());
        change(tensors);
        changed.set_value();
        const SavedCheckpoint saved = step_until_saved(store, communicator);
        EXPECT_FALSE(store.saving());
        EXPECT_EQ(saved.name, checkpoint_name(step));
        EXPECT_EQ(saved.step, step);
        EXPECT_GT(saved.copy_seconds, 0);
        EXPECT_GE(saved.blocked_seconds, saved.copy_seconds);
        EXPECT_GT(saved.write_seconds, 0);
        EXPECT_GE(saved.seconds, saved.write_seconds);
        if (communicator.rank() == 0) {
          EXPECT_EQ(saved.bytes, Checkpoint::open(folder / "c/" + saved.name).bytes());
        }
      }
    });
    expect_state(folder / "c/step-000000000010");
    expect_state(folder / "c/step-000000000020");
  }
}

TEST(BackgroundSave, IsAskedForAndWaitedFor) {
  const TemporaryFolder folder;
  run_ranks(3, [&](Communicator& communicator) {
    CheckpointStore store(folder / "c", communicator);
    EXPECT_FALSE(store.finish_save().has_value());
    const auto owned = nodes_of_rank(kNodes, communicator.rank(), 3);
    store.expect(state_tensors(owned), /*copies=*/true);
    EXPECT_GE(store.predicted_save_seconds(), 0);
    store.start_save(state_info(10), owned, state_tensors(owned), {.is_best = true});
    const std::optional<SavedCheckpoint> saved = store.finish_save();
    ASSERT_TRUE(saved.has_value());
    EXPECT_EQ(saved->name, "step-000000000010");
    EXPECT_EQ(best_checkpoint(store.directory()), folder / "c/step-000000000010");
    EXPECT_GE(store.predicted_save_seconds(), saved->write_seconds);
  });
  expect_state(folder / "c/step-000000000010");
}

TEST(BackgroundSave, OfOneRankThatFailsIsAnErrorOnAll) {
  const TemporaryFolder folder;
  run_ranks(3, [&](Communicator& communicator) {
    CheckpointStore store(folder / "c", communicator);
    const auto owned = nodes_of_rank(kNodes, communicator.rank(), 3);
    store.save(state_info(10), owned, state_tensors(owned));
    SaveOptions options;
    options.on_step = [&](SaveStep at) {
      if (at == SaveStep::shard_written && communicator.rank() == 2) {
        throw Error(Cause::io, "no space left");
      }
    };
    store.start_save(state_info(20), owned, state_tensors(owned), options);
    expect_error(Cause::io,
                 {"step-000000000020", "could not be saved", "rank 2", "no space left",
                  "earlier checkpoints are untouched"},
                 [&] { step_until_saved(store, communicator); });
    EXPECT_FALSE(store.saving());
    EXPECT_EQ(newest_checkpoint(store.directory()), folder / "c/step-000000000010");
    // The store can go on.
    store.start_save(state_info(30), owned, state_tensors(owned));
    EXPECT_EQ(step_until_saved(store, communicator).step, 30);
  });
  EXPECT_EQ(list_checkpoints(folder / "c"),
            (std::vector<std::string>{"step-000000000010", "step-000000000030"}));
  EXPECT_FALSE(fs::exists(folder / "c/.step-000000000020.writing"));
}

TEST(BackgroundSave, RefusesWhatIsNotFiniteOnAnyRank) {
  for (const float wrong : {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    const TemporaryFolder folder;
    run_ranks(3, [&](Communicator& communicator) {
      CheckpointStore store(folder / "c", communicator);
      const auto owned = nodes_of_rank(kNodes, communicator.rank(), 3);
      CheckpointTensor table;
      table.name = "table";
      table.value = at::full({static_cast<std::int64_t>(owned.size()), 5}, 1.5F);
      table.adam_m = at::full(table.value.sizes(), wrong);  // the moments may be what they are
      table.adam_v = table.adam_m.clone();
      table.sharded = true;
      store.start_save(state_info(10), owned, {table}, {.refuse_not_finite = true});
      step_until_saved(store, communicator);
      if (communicator.rank() == 1) table.value[3][2].fill_(wrong);
      store.start_save(state_info(20), owned, {table}, {.refuse_not_finite = true});
      expect_error(Cause::diverged, {"step-000000000020", "rank 1", "'table'", "--lr"},
                   [&] { store.finish_save(); });
    });
    EXPECT_EQ(list_checkpoints(folder / "c"), std::vector<std::string>{"step-000000000010"});
  }
}

TEST(BackgroundSave, ThatIsAbandonedIsNeverRead) {
  for (const Commit commit : {Commit::rename, Commit::marker}) {
    const TemporaryFolder folder;
    run_ranks(2, [&](Communicator& communicator) {
      const auto owned = nodes_of_rank(kNodes, communicator.rank(), 2);
      {
        CheckpointStore store(folder / "c", communicator);
        store.save(state_info(10), owned, state_tensors(owned), {.commit = commit});
        store.start_save(state_info(20), owned, state_tensors(owned), {.commit = commit});
      }
      communicator.barrier("test.ended");
      EXPECT_EQ(list_checkpoints(folder / "c"), std::vector<std::string>{"step-000000000010"});
      const CheckpointStore store(folder / "c", communicator);
      EXPECT_EQ(store.open_newest_valid().info().step, 10);
    });
    EXPECT_EQ(std::distance(fs::directory_iterator(folder / "c"), {}), 1);
  }
}

}  // namespace
}  // namespace micrec
