#include "train/run_settings.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

const std::vector<RunSetting> kNow = {{"dim", "64", OnResume::kept},
                                      {"epochs", "9", OnResume::may_change},
                                      {"lr", "0.002", OnResume::recorded},
                                      {"l2", "0", OnResume::recorded}};

TEST(RunSettings, ThatAreKeptAndDifferAreNamed) {
  EXPECT_EQ(different_settings(kNow, "--dim=32\n--epochs=3\n--lr=0.01\n--gone=1\n", "saved"),
            std::vector<std::string>{"--dim=64 (the checkpoint has 32)"});
  EXPECT_TRUE(different_settings(kNow, "--dim=64\n", "saved").empty());
  EXPECT_THROW(different_settings(kNow, "dim 64\n", "saved"), Error);
}

TEST(RunSettings, ThatAreRecordedAndDifferAreChanges) {
  const std::vector<ChangedSetting> changes =
      changed_settings(kNow, "--dim=32\n--epochs=3\n--lr=0.5\n--lr=0.01\n--l2=0\n", "saved");
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].name, "lr");
  EXPECT_EQ(changes[0].before, "0.01") << "of two the last holds";
  EXPECT_EQ(changes[0].now, "0.002");
  EXPECT_TRUE(changed_settings(kNow, "--dim=64\n", "saved").empty()) << "not there then";
}

TEST(RunSettings, HistoryIsLinesThatAFlagfileSkips) {
  const std::string line = history_line(7, {"lr", "0.01", "0.002"});
  EXPECT_EQ(line, "# from step 7 on: --lr=0.002, before it 0.01\n");
  EXPECT_EQ(history_of(line + "# Model\n--dim=64\n" + line), line + line);
  EXPECT_TRUE(parse_flagfile(line, "saved").empty());
}

TEST(RunSettings, OfARunThatEndedBeforeItsFirstCheckpointAreThoseOfItsConfiguration) {
  const TemporaryFolder folder;
  EXPECT_FALSE(settings_before_first_checkpoint(folder / "nowhere"));
  EXPECT_FALSE(settings_before_first_checkpoint(folder.path())) << "no config.txt";
  folder.write("config.txt", "--dim=64\n");
  EXPECT_EQ(settings_before_first_checkpoint(folder.path()), "--dim=64\n");
  // What a run that died leaves: steps in its log, a checkpoint half written.
  folder.write("metrics.jsonl", "{\"kind\":\"step\",\"step\":3}\n{\"kind\":\"sa");
  std::filesystem::create_directories(folder / "checkpoints/.step-000000000003.writing");
  EXPECT_EQ(settings_before_first_checkpoint(folder.path()), "--dim=64\n");
  std::filesystem::create_directories(folder / "checkpoints/step-000000000003");
  folder.write("checkpoints/step-000000000003/manifest.json", "{}");
  EXPECT_FALSE(settings_before_first_checkpoint(folder.path())) << "damaged or not, it is there";
}

TEST(RunSettings, OfARunThatHasLostItsCheckpointsAreNotTakenUp) {
  const TemporaryFolder folder;
  folder.write("config.txt", "--dim=64\n");
  folder.write("metrics.jsonl",
               "{\"kind\":\"step\",\"step\":3}\n"
               "{\"kind\":\"save\",\"step\":3,\"checkpoint\":\"step-000000000003\"}\n");
  expect_error(Cause::checkpoint,
               {folder / "checkpoints holds no checkpoint", "'step-000000000003'"},
               [&] { settings_before_first_checkpoint(folder.path()); });
}

}  // namespace
}  // namespace micrec
