#include <cstdlib>
#include <tuple>

#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
#include "training_state.h"

namespace micrec {
namespace {

constexpr std::int64_t kNodes = 237;

// Saves the expected state at `ranks` ranks; returns the checkpoint's path.
std::string save_at(int ranks, const std::string& directory, std::int64_t nodes = kNodes) {
  std::string name;
  run_ranks(ranks, [&](Communicator& communicator) {
    CheckpointStore store(directory, communicator);
    const auto owned = nodes_of_rank(nodes, communicator.rank(), ranks);
    const std::string published = store.save(state_info(1200), owned, state_tensors(owned));
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
    const auto owned = nodes_of_rank(kNodes, communicator.rank(), ranks);
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
  EXPECT_EQ(checkpoint.rows(), kNodes);
  EXPECT_TRUE(checkpoint.has("templates"));
  EXPECT_FALSE(checkpoint.has("template"));
  ASSERT_EQ(checkpoint.tensors().size(), 8u);
  EXPECT_EQ(checkpoint.tensors()[3].shape, (std::vector<std::int64_t>{kNodes, 2, 3}));
  EXPECT_EQ(checkpoint.tensors()[3].type, "uint8");
  EXPECT_EQ(checkpoint.tensors()[5].shape, std::vector<std::int64_t>{});
  EXPECT_EQ(checkpoint.tensors()[5].description, "the tensor scale");
}

TEST(Restore, WithoutOptimizerStateLeavesTheMomentsAlone) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = Checkpoint::open(save_at(2, folder / "checkpoints"));
  const auto owned = nodes_of_rank(kNodes, 0, 1);
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
  const auto owned = nodes_of_rank(kNodes, 0, 1);
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
  const std::vector<CheckpointTensor> expected = state_tensors(nodes_of_rank(kNodes, 0, 1));
  for (const CheckpointTensor& tensor : expected) {
    const at::Tensor whole = tensor.sharded ? checkpoint.read_all_rows(tensor.name)
                                            : checkpoint.read_replicated(tensor.name);
    EXPECT_TRUE(same_bytes(whole, tensor.value)) << tensor.name;
  }
}

TEST(Restore, NamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const std::string path = save_at(2, folder / "checkpoints");
  const Checkpoint checkpoint = Checkpoint::open(path);
  const auto owned = nodes_of_rank(kNodes, 0, 1);
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
                 t.value = at::empty({kNodes, 6});
               }));
  expect_error(cause, {"'projection.text'", "shape (7, 4)", "expected (4, 7)"},
               restore(4, [](CheckpointTensor& t) {
                 t.value = at::empty({4, 7});
               }));
  expect_error(cause, {"'gates'", "type float64", "expected float32"},
               restore(1, [](CheckpointTensor& t) { t.value = at::empty({kNodes}); }));
  expect_error(cause, {"'counts'", "is replicated", "expected it sharded"},
               restore(6, [](CheckpointTensor& t) {
                 t.sharded = true;
                 t.value = at::empty({kNodes}, at::kInt);
               }));
  expect_error(cause, {"'last_seen'", "no optimizer state"},
               restore(2, [](CheckpointTensor& t) { t.adam_m = t.adam_v = t.value; }));
  expect_error(cause, {"'scale'", "is replicated"},
               [&] { (void)checkpoint.read_all_rows("scale"); });
  expect_error(cause, {"'gates'", "is sharded"},
               [&] { (void)checkpoint.read_replicated("gates"); });
}

TEST(Restore, NamesARowThatNobodySaved) {
  const TemporaryFolder folder;
  const std::string path = save_at(3, folder / "checkpoints");
  const auto owned = nodes_of_rank(kNodes + 2, 0, 1);
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

TEST(Restore, IsReadableByH5py) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python with h5py beside torch";
  const TemporaryFolder folder;
  // Values that Python can compute as well: row * 10 + column.
  run_ranks(3, [&](Communicator& communicator) {
    const auto owned = nodes_of_rank(kNodes, communicator.rank(), 3);
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
  const std::string command = std::string("\"") + MICREC_PYTHON + "\" \"" + MICREC_SOURCE_DIR +
                              "/tests/checkpoints/read_with_h5py.py\" \"" +
                              (folder / "c/step-000000000030") + "\" " + std::to_string(kNodes);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace
}  // namespace micrec
