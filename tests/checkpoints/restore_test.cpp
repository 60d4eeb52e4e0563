#include <filesystem>
#include <tuple>

#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
#include "tests/support/checkpoint_tensors.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "training_state.h"

namespace micrec {
namespace {

constexpr std::int64_t kRestoredNodes = 237;

// Saves the expected state at `ranks` ranks; returns the checkpoint's path.
std::string save_at(int ranks, const std::string& directory, std::int64_t nodes = kRestoredNodes) {
  std::string name;
  run_ranks(ranks, [&](Communicator& communicator) {
    CheckpointStore store(directory, communicator);
    const auto owned = nodes_of_rank(nodes, communicator.rank(), ranks);
    const std::string published = store.save(state_info(1200), owned, state_tensors(owned)).name;
    if (communicator.rank() == 0) name = published;
  });
  return directory + "/" + name;
}

class SavedAndRestored : public ::testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(SavedAndRestored, HasTheSameBitsOnAnyNumberOfRanks) {
  const auto [saved_at, restored_at] = GetParam();
  const TemporaryFolder folder;
  const std::string path = save_at(saved_at, folder / "checkpoints");
  run_ranks(restored_at, [&, ranks = restored_at](Communicator& communicator) {
    const auto owned = nodes_of_rank(kRestoredNodes, communicator.rank(), ranks);
    const Checkpoint checkpoint = Checkpoint::open(path, communicator);
    std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
    checkpoint.restore(owned, tensors, /*with_optimizer_state=*/true);
    expect_same_bytes(tensors, state_tensors(owned));
  });
}

INSTANTIATE_TEST_SUITE_P(RankCounts, SavedAndRestored,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 5, 8),
                                            ::testing::Values(1, 2, 3, 4, 5, 8)));

TEST(Restore, KeepsInfo) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = Checkpoint::open(save_at(3, folder / "checkpoints"));
  const CheckpointInfo expected = state_info(1200);
  const CheckpointInfo& info = checkpoint.info();
  EXPECT_EQ(checkpoint.name(), "step-000000001200");
  EXPECT_EQ(info.step, expected.step);
  EXPECT_EQ(info.epoch, expected.epoch);
  EXPECT_EQ(info.best_metric, expected.best_metric);
  EXPECT_EQ(info.best_step, expected.best_step);
  EXPECT_EQ(info.validations_without_improvement, expected.validations_without_improvement);
  EXPECT_EQ(info.config, expected.config);
  EXPECT_EQ(info.dataset_path, expected.dataset_path);
  EXPECT_EQ(info.dataset_fingerprint, expected.dataset_fingerprint);
  EXPECT_EQ(info.world_size, 3);
  EXPECT_EQ(info.grid, expected.grid);
  EXPECT_EQ(info.extra, expected.extra);
  EXPECT_EQ(checkpoint.rows(), kRestoredNodes);
  ASSERT_EQ(checkpoint.tensors().size(), 8u);
  EXPECT_EQ(checkpoint.tensors()[0].name, "templates");
  EXPECT_EQ(checkpoint.tensors()[3].shape, (std::vector<std::int64_t>{kRestoredNodes, 2, 3}));
  EXPECT_EQ(checkpoint.tensors()[3].type, "uint8");
  EXPECT_EQ(checkpoint.tensors()[5].shape, std::vector<std::int64_t>{});
  EXPECT_EQ(checkpoint.tensors()[5].description, "the tensor scale");
}

TEST(Restore, WithoutOptimizerStateLeavesTheMomentsAlone) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = Checkpoint::open(save_at(2, folder / "checkpoints"));
  const auto owned = nodes_of_rank(kRestoredNodes, 0, 1);
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  checkpoint.restore(owned, tensors, /*with_optimizer_state=*/false);
  const std::vector<CheckpointTensor> expected = state_tensors(owned);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(same_bytes(tensors[i].value, expected[i].value)) << tensors[i].name;
    if (!tensors[i].adam_m.defined()) continue;
    EXPECT_TRUE(same_bytes(tensors[i].adam_m, at::zeros_like(tensors[i].adam_m)));
    EXPECT_TRUE(same_bytes(tensors[i].adam_v, at::zeros_like(tensors[i].adam_v)));
  }
}

TEST(Restore, FillsTensorsThatAreNotContiguous) {
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoints";
  const auto owned = nodes_of_rank(kRestoredNodes, 0, 1);
  run_ranks(1, [&](Communicator& communicator) {
    std::vector<CheckpointTensor> saved = state_tensors(owned);
    saved[0].value = saved[0].value.t().contiguous().t();
    ASSERT_FALSE(saved[0].value.is_contiguous());
    CheckpointStore(path, communicator).save(state_info(1), owned, saved);
  });
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  tensors[0].value = tensors[0].value.t().contiguous().t();
  Checkpoint::open(path + "/step-000000000001").restore(owned, tensors, true);
  tensors[0].value = tensors[0].value.contiguous();
  expect_same_bytes(tensors, state_tensors(owned));
}

TEST(Restore, TakesAnyRowsInLargeFiles) {
  // More row numbers and more bytes than are read at once.
  constexpr std::int64_t kMany = 2'200'000;
  const TemporaryFolder folder;
  std::vector<GlobalNode> all(kMany);
  std::vector<std::int64_t> rows(kMany);
  for (std::int64_t i = 0; i < kMany; ++i) {
    all[static_cast<std::size_t>(i)] = GlobalNode{static_cast<std::int32_t>(i)};
    rows[static_cast<std::size_t>(i)] = i;
  }
  run_ranks(1, [&](Communicator& communicator) {
    CheckpointTensor tensor;
    tensor.name = "table";
    tensor.value = at::empty({kMany, 3}, at::kFloat);
    fill_expected(tensor.value, 9, rows);
    tensor.sharded = true;
    CheckpointStore(folder / "checkpoints", communicator).save(state_info(5), all, {tensor});
  });
  const Checkpoint checkpoint = Checkpoint::open(folder / "checkpoints/step-000000000005");
  std::vector<GlobalNode> some;
  rows.clear();
  for (std::int64_t i = 1; i < kMany; i += (i % 5 == 0 ? 1 : 700)) {
    some.push_back(GlobalNode{static_cast<std::int32_t>(i)});
    rows.push_back(i);
  }
  std::vector<CheckpointTensor> into(1);
  into[0].name = "table";
  into[0].value = at::empty({static_cast<std::int64_t>(some.size()), 3}, at::kFloat);
  into[0].sharded = true;
  checkpoint.restore(some, into, true);
  at::Tensor expected = at::zeros_like(into[0].value);
  fill_expected(expected, 9, rows);
  EXPECT_TRUE(same_bytes(into[0].value, expected));
}

TEST(Restore, ReadsWholeTensors) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = Checkpoint::open(save_at(4, folder / "checkpoints"));
  const std::vector<CheckpointTensor> expected = state_tensors(nodes_of_rank(kRestoredNodes, 0, 1));
  for (const CheckpointTensor& tensor : expected) {
    EXPECT_TRUE(same_bytes(read_whole(checkpoint, tensor.name), tensor.value)) << tensor.name;
  }
}

TEST(Restore, NamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const std::string path = save_at(2, folder / "checkpoints");
  const Checkpoint checkpoint = Checkpoint::open(path);
  const auto owned = nodes_of_rank(kRestoredNodes, 0, 1);
  const auto restore = [&](std::size_t number, const auto& change) {
    return [&checkpoint, &owned, number, change] {
      std::vector<CheckpointTensor> into = {state_tensors(owned)[number]};
      change(into[0]);
      checkpoint.restore(owned, into, true);
    };
  };
  const Cause cause = Cause::checkpoint;
  expect_error(cause, {path, "no tensor 'tokens'", "templates", "projection.text"},
               restore(0, [](CheckpointTensor& t) { t.name = "tokens"; }));
  expect_error(cause, {"'templates'", path, "shape (237, 5)", "expected (237, 6)"},
               restore(0, [](CheckpointTensor& t) {
                 t.value = at::empty({kRestoredNodes, 6});
               }));
  expect_error(cause, {"'projection.text'", "shape (7, 4)", "expected (4, 7)"},
               restore(4, [](CheckpointTensor& t) {
                 t.value = at::empty({4, 7});
               }));
  expect_error(cause, {"'gates'", "type float64", "expected float32"},
               restore(1, [](CheckpointTensor& t) { t.value = at::empty({kRestoredNodes}); }));
  expect_error(cause, {"'counts'", "is replicated", "expected it sharded"},
               restore(6, [](CheckpointTensor& t) {
                 t.sharded = true;
                 t.value = at::empty({kRestoredNodes}, at::kInt);
               }));
  expect_error(cause, {"'last_seen'", "no optimizer state"},
               restore(2, [](CheckpointTensor& t) { t.adam_m = t.adam_v = t.value; }));
  expect_error(cause, {"'gates'", "is sharded", "expected it replicated"},
               restore(1, [](CheckpointTensor& t) { t.sharded = false; }));
}

TEST(Restore, NamesAllThatDoesNotFit) {
  const TemporaryFolder folder;
  const std::string path = save_at(2, folder / "checkpoints");
  const auto owned = nodes_of_rank(kRestoredNodes, 0, 1);
  std::vector<CheckpointTensor> into = state_tensors(owned, /*filled=*/false);
  into[0].name = "tokens";
  into[1].value = at::empty({kRestoredNodes});
  into[1].adam_m = into[1].adam_v = at::Tensor();
  into[4].value = at::empty({4, 7});
  into[4].adam_m = into[4].adam_v = at::Tensor();
  expect_error(
      Cause::checkpoint,
      {"no tensor 'tokens'", "'gates'", "type float64", "'projection.text'", "shape (7, 4)"},
      [&] { Checkpoint::open(path).restore(owned, into, true); });
  EXPECT_TRUE(same_bytes(into[2].value, at::zeros_like(into[2].value)));  // nothing was filled
}

TEST(Restore, NamesARowThatNobodySaved) {
  const TemporaryFolder folder;
  const std::string path = save_at(3, folder / "checkpoints");
  const auto owned = nodes_of_rank(kRestoredNodes + 2, 0, 1);
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  // The shape of the whole is that of the rows saved, whoever asks for more.
  expect_error(Cause::checkpoint,
               {"row 237", "'templates'", "none of the 3 files", path, "237 rows"},
               [&] { Checkpoint::open(path).restore(owned, tensors, true); });
}

TEST(Restore, NamesARowThatTwoRanksSaved) {
  const TemporaryFolder folder;
  run_ranks(2, [&](Communicator& communicator) {
    std::vector<GlobalNode> owned = {GlobalNode{0}, GlobalNode{2}};
    if (communicator.rank() == 1) owned = {GlobalNode{1}, GlobalNode{2}};
    CheckpointStore(folder / "c", communicator).save(state_info(7), owned, state_tensors(owned));
  });
  const std::vector<GlobalNode> owned = {GlobalNode{0}, GlobalNode{1}, GlobalNode{2}};
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  expect_error(Cause::checkpoint,
               {"step-000000000007/shard-00001.h5", "row 2", "'templates'", "shard-00000.h5"}, [&] {
                 Checkpoint::open(folder / "c/step-000000000007").restore(owned, tensors, true);
               });
}

class NewestValid : public ::testing::TestWithParam<int> {
 protected:
  NewestValid() {
    run_ranks(2, [&](Communicator& communicator) {
      CheckpointStore store(directory_, communicator);
      const auto owned = nodes_of_rank(kRestoredNodes, communicator.rank(), 2);
      for (const std::int64_t step : {10, 20, 30}) {
        store.save(state_info(step), owned, state_tensors(owned));
      }
    });
  }

  void flip_a_bit(const std::string& file) const {
    std::string bytes = file_contents(directory_ + "/" + file);
    bytes[bytes.size() / 2] ^= 1;
    set_file_contents(directory_ + "/" + file, bytes);
  }

  // Opens it on all ranks, alone as well, and expects the same of each.
  void expect_newest(std::int64_t step, const std::vector<std::vector<std::string>>& damages) {
    const auto expect = [&](const Checkpoint& found, const std::vector<std::string>& told) {
      EXPECT_EQ(found.info().step, step);
      ASSERT_EQ(told.size(), damages.size());
      for (std::size_t i = 0; i < told.size(); ++i) expect_has(told[i], damages[i]);
    };
    run_ranks(GetParam(), [&](Communicator& communicator) {
      const CheckpointStore store(directory_, communicator);
      std::vector<std::string> told;
      const Checkpoint found = store.open_newest_valid(&told);
      expect(found, told);
      const auto owned = nodes_of_rank(kRestoredNodes, communicator.rank(), communicator.size());
      std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
      found.restore(owned, tensors, true);
      expect_same_bytes(tensors, state_tensors(owned));
    });
    std::vector<std::string> told;
    const Checkpoint found = open_newest_valid(directory_, Verify::checksums, &told);
    expect(found, told);
  }

  void expect_none(const std::vector<std::string>& parts) {
    run_ranks(GetParam(), [&](Communicator& communicator) {
      const CheckpointStore store(directory_, communicator);
      expect_error(Cause::checkpoint, parts, [&] { store.open_newest_valid(); });
    });
    expect_error(Cause::checkpoint, parts,
                 [&] { open_newest_valid(directory_, Verify::checksums); });
  }

  TemporaryFolder folder_;
  std::string directory_ = folder_ / "c";
};

TEST_P(NewestValid, IsTheNewestWhereAllAreWhole) { expect_newest(30, {}); }

TEST_P(NewestValid, StepsOverDamagedOnesAndNamesWhat) {
  flip_a_bit("step-000000000030/shard-00001.h5");
  expect_newest(20, {{"step-000000000030/shard-00001.h5", "checksum", "dataset /tensors/"}});
  const std::string manifest = directory_ + "/step-000000000020/manifest.json";
  set_file_contents(manifest, file_contents(manifest).substr(0, 100));
  expect_newest(10, {{"step-000000000030/shard-00001.h5"}, {manifest, "not JSON"}});
}

TEST_P(NewestValid, IsAnErrorWhereNoneIsWhole) {
  for (const char* step : {"step-000000000010", "step-000000000020", "step-000000000030"}) {
    flip_a_bit(std::string(step) + "/shard-00000.h5");
  }
  expect_none({"none of the 3 checkpoints", directory_, "step-000000000010/shard-00000.h5",
               "step-000000000020/shard-00000.h5", "step-000000000030/shard-00000.h5",
               "another --run_dir"});
}

TEST_P(NewestValid, IsAnErrorWhereThereIsNone) {
  std::filesystem::remove_all(directory_);
  std::filesystem::create_directory(directory_);
  expect_none({directory_, "no checkpoint", "--resume"});
}

TEST_P(NewestValid, DoesNotStepOverWhatANewerProgramWrote) {
  const std::string manifest = directory_ + "/step-000000000030/manifest.json";
  std::string text = file_contents(manifest);
  text.replace(text.find("\"format_version\": 1"), 19, "\"format_version\": 7");
  set_file_contents(manifest, text);
  expect_none({manifest, "version 7", "newer"});
}

INSTANTIATE_TEST_SUITE_P(RankCounts, NewestValid, ::testing::Values(1, 2, 3));

TEST(Restore, PutsABestThatWasLeftBehindRight) {
  const TemporaryFolder folder;
  const std::string directory = folder / "c";
  run_ranks(2, [&](Communicator& communicator) {
    CheckpointStore store(directory, communicator);
    const auto owned = nodes_of_rank(kRestoredNodes, communicator.rank(), 2);
    const auto save = [&](std::int64_t step, std::int64_t best_step) {
      CheckpointInfo info = state_info(step);
      info.best_step = best_step;
      store.save(info, owned, state_tensors(owned), {.is_best = step == best_step});
    };
    save(10, 10);
    save(20, 10);
    save(30, 30);
    EXPECT_EQ(best_checkpoint(store.directory()), directory + "/step-000000000030");
    // The run goes on from 20, because 30 is damaged: its best is 10 again.
    save(25, 10);
    EXPECT_EQ(best_checkpoint(store.directory()), directory + "/step-000000000010");
    EXPECT_EQ(newest_checkpoint(store.directory()), directory + "/step-000000000025");
    communicator.barrier("test.before");
    if (communicator.rank() == 0) set_file_contents(directory + "/best.json", "{");
    communicator.barrier("test.damaged");
    save(35, 10);
    EXPECT_EQ(best_checkpoint(store.directory()), directory + "/step-000000000010");
  });
}

TEST(Restore, IsReadableByH5py) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python with h5py beside torch";
  const TemporaryFolder folder;
  // Values that Python can compute as well: row * 10 + column.
  run_ranks(3, [&](Communicator& communicator) {
    const auto owned = nodes_of_rank(kRestoredNodes, communicator.rank(), 3);
    const auto n = static_cast<std::int64_t>(owned.size());
    CheckpointTensor table;
    table.name = "table";
    table.description = "row * 10 + column";
    table.value = at::empty({n, 4}, at::kFloat);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t c = 0; c < 4; ++c) {
        table.value.mutable_data_ptr<float>()[4 * i + c] =
            static_cast<float>(value(owned[static_cast<std::size_t>(i)]) * 10 + c);
      }
    }
    table.adam_m = table.value.neg();
    table.adam_v = table.value.square();
    table.sharded = true;
    CheckpointTensor step = state_tensors(owned)[5];
    step.value.fill_(0.25);
    CheckpointStore(folder / "c", communicator).save(state_info(30), owned, {table, step});
  });
  run_python("checkpoints/read_with_h5py.py",
             {folder / "c/step-000000000030", std::to_string(kRestoredNodes)});
}

}  // namespace
}  // namespace micrec
