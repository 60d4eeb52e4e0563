#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
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

TEST_F(DamagedCheckpoint, WithoutManifestIsNoCheckpoint) {
  fs::remove(path_ + "/manifest.json");
  expect_refused({path_, "is not a checkpoint", "manifest.json"});
  EXPECT_EQ(newest_checkpoint(folder_ / "checkpoints"), std::nullopt);
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
