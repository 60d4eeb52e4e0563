#include <ATen/ops/zeros.h>

#include <algorithm>

#include "base/text.h"
#include "checkpoints/store.h"
#include "checkpoints/verify.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "training_state.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

class DamagedCheckpoint : public ::testing::Test {
 protected:
  DamagedCheckpoint() : path_(folder_ / "checkpoints/step-000000000010") {
    run_ranks(3, [&](Communicator& communicator) {
      const auto owned = nodes_of_rank(60, communicator.rank(), 3);
      CheckpointStore(folder_ / "checkpoints", communicator)
          .save(state_info(10), owned, state_tensors(owned));
    });
  }

  // Alone and as one of two ranks, of which only one reads the damaged file.
  void expect_refused(const std::vector<std::string>& parts, Cause cause = Cause::checkpoint) {
    expect_error(cause, parts, [&] { Checkpoint::open(path_); });
    run_ranks(2, [&](Communicator& communicator) {
      expect_error(cause, parts, [&] { Checkpoint::open(path_, communicator); });
    });
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(DamagedCheckpoint, IsFineBeforeTheDamage) {
  EXPECT_NO_THROW(Checkpoint::open(path_));
  run_ranks(5, [&](Communicator& communicator) {
    EXPECT_NO_THROW(Checkpoint::open(path_, communicator));
  });
}

TEST_F(DamagedCheckpoint, NamesATruncatedFile) {
  const std::string shard = path_ + "/shard-00001.h5";
  const std::string bytes = file_contents(shard);
  for (const std::size_t size : {bytes.size() - 1, bytes.size() / 2, std::size_t{0}}) {
    set_file_contents(shard, bytes.substr(0, size));
    expect_refused({shard, "is damaged", "bytes", "the manifest says"});
    expect_error(Cause::checkpoint, {shard}, [&] { Checkpoint::open(path_, Verify::sizes); });
  }
  set_file_contents(shard, bytes + "x");
  expect_refused({shard, "is damaged"});
}

TEST_F(DamagedCheckpoint, NamesAFileWithAFlippedBitAnywhere) {
  for (const char* name : {"/shard-00000.h5", "/shard-00002.h5"}) {
    const std::string shard = path_ + name;
    const std::string bytes = file_contents(shard);
    for (std::size_t at = 0; at < bytes.size(); at += bytes.size() / 40 + 1) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
      set_file_contents(shard, flipped);
      expect_error(Cause::checkpoint, {shard, "is damaged", "checksum"},
                   [&] { Checkpoint::open(path_); });
    }
    expect_refused({shard, "checksum"});
    set_file_contents(shard, bytes);
  }
}

// A bit of each dataset of each file, and of what lies between them.
TEST_F(DamagedCheckpoint, NamesTheDatasetOfAFlippedBit) {
  const std::vector<StoredShard> shards = Checkpoint::open(path_).shards();
  ASSERT_EQ(shards.size(), 3U);
  for (const StoredShard& shard : shards) {
    const std::string path = path_ + "/" + shard.file;
    const std::string bytes = file_contents(path);
    // row and value of 4 sharded tensors, both moments of 2; the replicated ones but the empty one.
    EXPECT_EQ(shard.datasets.size(), shard.file == "shard-00000.h5" ? 19U : 12U);
    std::vector<bool> in_dataset(bytes.size(), false);
    const auto flip = [&](std::int64_t at, const std::vector<std::string>& parts) {
      std::string flipped = bytes;
      flipped[static_cast<std::size_t>(at)] = static_cast<char>(flipped[at] ^ 0x04);
      set_file_contents(path, flipped);
      std::vector<std::string> all = {path, "is damaged", "its checksum is", shard.xxh3_128};
      all.insert(all.end(), parts.begin(), parts.end());
      expect_error(Cause::checkpoint, all, [&] { Checkpoint::open(path_); });
    };
    for (const StoredDataset& dataset : shard.datasets) {
      for (const std::int64_t at : {std::int64_t{0}, dataset.bytes / 2, dataset.bytes - 1}) {
        flip(dataset.offset + at, {"the difference is in dataset " + dataset.name});
      }
      std::fill_n(in_dataset.begin() + dataset.offset, dataset.bytes, true);
    }
    std::size_t outside = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      if (in_dataset[at] || ++outside % 97 != 1) continue;
      flip(static_cast<std::int64_t>(at), {"outside of its datasets"});
    }
    EXPECT_GT(outside, 100U);
    set_file_contents(path, bytes);
  }
}

TEST_F(DamagedCheckpoint, NamesWhatIsCutOff) {
  const StoredShard shard = Checkpoint::open(path_).shards()[1];
  const std::string path = path_ + "/" + shard.file;
  const std::string bytes = file_contents(path);
  for (const StoredDataset& dataset : shard.datasets) {
    set_file_contents(path, bytes.substr(0, static_cast<std::size_t>(dataset.offset + 1)));
    expect_refused({path, "cut off", dataset.name + " (any of its rows)"});
    const std::int64_t row_bytes = dataset.bytes / dataset.rows;
    const auto end = static_cast<std::size_t>(dataset.offset + 3 * row_bytes);
    set_file_contents(path, bytes.substr(0, end));
    expect_refused({path, "cut off",
                    text(dataset.name, ", rows 3 to ", dataset.rows - 1, " of ", dataset.rows)});
  }
}

TEST_F(DamagedCheckpoint, NamesTheRowsOfADamagedBlock) {
  constexpr std::int64_t kRows = 700'000;  // 5.6 MB: blocks of 131,072 rows
  const TemporaryFolder folder;
  run_ranks(1, [&](Communicator& communicator) {
    CheckpointTensor table;
    table.name = "table";
    table.value = at::zeros({kRows, 2});
    table.sharded = true;
    std::vector<GlobalNode> owned;
    for (std::int32_t i = 0; i < kRows; ++i) owned.push_back(GlobalNode{i});
    CheckpointStore(folder / "c", communicator).save(state_info(10), owned, {table});
  });
  const std::string path = folder / "c/step-000000000010";
  const StoredShard shard = Checkpoint::open(path).shards()[0];
  const auto value = std::find_if(shard.datasets.begin(), shard.datasets.end(),
                                  [](const auto& d) { return d.name == "/tensors/table/value"; });
  ASSERT_NE(value, shard.datasets.end());
  const std::string file = path + "/" + shard.file;
  std::string bytes = file_contents(file);
  bytes[static_cast<std::size_t>(value->offset + 8 * 300'000)] ^= 1;
  set_file_contents(file, bytes);
  expect_error(Cause::checkpoint,
               {file, "/tensors/table/value, rows 262,144 to 393,215 of 700,000"},
               [&] { Checkpoint::open(path); });
}

TEST_F(DamagedCheckpoint, IsVerifiedFileByFile) {
  EXPECT_TRUE(verify_checkpoint(path_).whole());
  const std::string shard = path_ + "/shard-00001.h5";
  std::string bytes = file_contents(shard);
  bytes[bytes.size() / 2] ^= 1;
  set_file_contents(shard, bytes);
  fs::remove(path_ + "/shard-00002.h5");
  const VerifiedCheckpoint verified = verify_checkpoint(path_);
  EXPECT_FALSE(verified.whole());
  ASSERT_EQ(verified.files.size(), 4U);
  EXPECT_EQ(verified.files[0].file, "manifest.json");
  EXPECT_EQ(verified.files[0].damage, "");
  EXPECT_EQ(verified.files[1].damage, "");
  expect_has(verified.files[2].damage, {"checksum"});
  expect_has(verified.files[3].damage, {"missing"});
  set_file_contents(path_ + "/manifest.json", "{}");
  EXPECT_EQ(verify_checkpoint(path_).files.size(), 1U);
  EXPECT_FALSE(verify_checkpoint(path_).whole());
}

TEST_F(DamagedCheckpoint, NamesAMissingFile) {
  fs::remove(path_ + "/shard-00002.h5");
  expect_refused({path_ + "/shard-00002.h5", "is missing"});
}

TEST_F(DamagedCheckpoint, NamesExchangedFiles) {
  fs::rename(path_ + "/shard-00000.h5", path_ + "/x");
  fs::rename(path_ + "/shard-00001.h5", path_ + "/shard-00000.h5");
  fs::rename(path_ + "/x", path_ + "/shard-00001.h5");
  expect_refused({"shard-0000", "is damaged"});
}

// It was published: that its manifest is gone is told, and nothing begins as if it were not there.
TEST_F(DamagedCheckpoint, WithoutManifestIsADamagedOne) {
  fs::remove(path_ + "/manifest.json");
  expect_refused({path_, "a damaged one", "manifest.json"});
  EXPECT_EQ(newest_checkpoint(folder_ / "checkpoints"), path_);
  fs::create_directory(folder_ / "checkpoints/step-000000000099");  // only begun
  EXPECT_EQ(newest_checkpoint(folder_ / "checkpoints"), path_);
  const VerifiedRun verified =
      verify_run(folder_ / "checkpoints", [](const std::string&, const VerifiedFile&) {});
  EXPECT_EQ(verified.damaged, 1);
  expect_has(verified.checkpoints.at(0).files.at(0).damage, {"manifest.json"});
}

// What cannot be read may be whole: going on from an older one would write over it.
TEST_F(DamagedCheckpoint, ThatCannotBeReadIsNotSteppedOver) {
  fs::copy(path_, folder_ / "checkpoints/step-000000000020", fs::copy_options::recursive);
  const std::string shard = folder_ / "checkpoints/step-000000000020/shard-00001.h5";
  fs::remove(shard);
  fs::create_directory(shard);
  expect_error(Cause::io, {shard, "is not stepped over", "move the checkpoint elsewhere"},
               [&] { open_newest_valid(folder_ / "checkpoints", Verify::checksums); });
}

TEST_F(DamagedCheckpoint, NamesADamagedManifest) {
  const std::string manifest = path_ + "/manifest.json";
  const std::string text = file_contents(manifest);
  set_file_contents(manifest, text.substr(0, text.size() / 2));
  expect_refused({manifest, "is damaged"});
  std::string edited = text;
  edited.replace(edited.find("\"step\": 10"), 10, "\"step\": 11");
  set_file_contents(manifest, edited);
  expect_refused({manifest, "checksum"});
  edited = text;
  edited.replace(edited.find("\"format_version\": 1"), 19, "\"format_version\": 9");
  set_file_contents(manifest, edited);
  expect_refused({manifest, "version 9", "up to 1"});
}

TEST_F(DamagedCheckpoint, NamesWhatIsNoDirectory) {
  expect_error(Cause::checkpoint, {"/nowhere", "RUN_DIR/checkpoints"},
               [&] { Checkpoint::open(folder_ / "nowhere"); });
  expect_error(Cause::checkpoint, {"manifest.json", "not a directory"},
               [&] { Checkpoint::open(path_ + "/manifest.json"); });
  expect_error(Cause::checkpoint, {"is not a checkpoint"},
               [&] { Checkpoint::open(folder_ / "checkpoints"); });
}

}  // namespace
}  // namespace micrec
