#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
#include "training_state.h"

namespace micrec {
namespace {

constexpr std::int64_t kGoldenNodes = 9;
constexpr int kRanks = 2;

void expect_golden(const std::string& folder) {
  const Checkpoint checkpoint =
      Checkpoint::open(MICREC_SOURCE_DIR "/tests/golden/" + folder + "/step-000000000120");
  EXPECT_EQ(checkpoint.info().step, 120);
  EXPECT_EQ(checkpoint.info().epoch, 12);
  EXPECT_EQ(checkpoint.info().best_metric, 0.04715263);
  EXPECT_EQ(checkpoint.info().config, "--model=micrec\n--dim=64\n");
  EXPECT_EQ(checkpoint.info().extra.at("annealing"), "0.99");
  EXPECT_EQ(checkpoint.info().world_size, kRanks);
  const auto owned = nodes_of_rank(kGoldenNodes, 0, 1);
  std::vector<CheckpointTensor> tensors = state_tensors(owned, /*filled=*/false);
  checkpoint.restore(owned, tensors, /*with_optimizer_state=*/true);
  expect_same_bytes(tensors, state_tensors(owned));
}

// Checkpoints of every format version stay in tests/golden and are read forever.
TEST(GoldenCheckpoint, OfVersion1IsReadForever) { expect_golden("checkpoint-version-1"); }

// Of the same version, when it had got commits by a marker and digests by dataset.
TEST(GoldenCheckpoint, OfVersion1WithAMarkerIsReadForever) {
  expect_golden("checkpoint-version-1-marker");
  const Checkpoint checkpoint = Checkpoint::open(
      MICREC_SOURCE_DIR "/tests/golden/checkpoint-version-1-marker/step-000000000120");
  EXPECT_EQ(checkpoint.commit(), Commit::marker);
  for (const StoredShard& shard : checkpoint.shards()) {
    EXPECT_FALSE(shard.datasets.empty());
    for (const StoredDataset& dataset : shard.datasets) EXPECT_GT(dataset.offset, 0);
  }
}

// How it was made; run again only for a new format version, into a folder of its own:
//   test_checkpoints --gtest_also_run_disabled_tests --gtest_filter=GoldenCheckpoint.DISABLED_Write
TEST(GoldenCheckpoint, DISABLED_Write) {
  run_ranks(kRanks, [](Communicator& communicator) {
    const auto owned = nodes_of_rank(kGoldenNodes, communicator.rank(), kRanks);
    CheckpointStore("new-golden-checkpoint", communicator)
        .save(state_info(120), owned, state_tensors(owned), {.commit = Commit::marker});
  });
}

}  // namespace
}  // namespace micrec
