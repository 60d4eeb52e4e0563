#include "launcher/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"
#include "cluster/thread_communicator.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What every one of three ranks is told; each must be told the same.
void expect_refused(const std::function<PreflightNeeds(int rank)>& needs_of, Cause cause,
                    const ::testing::Matcher<std::string>& message) {
  run_ranks(3, [&](Communicator& group) {
    Job job(group);
    try {
      preflight(needs_of(group.rank()), job);
      ADD_FAILURE() << "rank " << group.rank() << " is told nothing";
    } catch (const Error& error) {
      EXPECT_EQ(error.cause(), cause);
      EXPECT_THAT(error.what(), message);
    }
  });
}

TEST(Preflight, PassesWhereAllIsWell) {
  const TemporaryFolder folder;
  const std::string run_dir = folder / "runs/new";
  run_ranks(3, [&](Communicator& group) {
    Job job(group);
    preflight({.run_dir = run_dir, .checkpoint_bytes = 1000, .dataset_fingerprint = "abc"}, job);
  });
  EXPECT_TRUE(std::filesystem::is_empty(run_dir)) << "it leaves nothing behind";
}

TEST(Preflight, RefusesAnotherDatasetOnOneRank) {
  const TemporaryFolder folder;
  expect_refused(
      [&](int rank) {
        return PreflightNeeds{folder / "run", 1000, rank == 2 ? "abd" : "abc"};
      },
      Cause::data,
      AllOf(HasSubstr("rank 2 has another dataset than rank 0: expected abc, got abd")));
}

TEST(Preflight, RefusesAFileSystemWithoutRoomForTwoCheckpoints) {
  const TemporaryFolder folder;
  expect_refused(
      [&](int) {
        return PreflightNeeds{folder / "run", 1e18, "abc"};
      },
      Cause::io,
      AllOf(HasSubstr("free, expected"), HasSubstr("for two checkpoints"), HasSubstr("--run_dir")));
}

TEST(Preflight, RefusesARunFolderThatCannotBeMade) {
  const TemporaryFolder folder;
  const std::string file = folder.write("file", "not a folder");
  expect_refused(
      [&](int) {
        return PreflightNeeds{file + "/run", 1000, "abc"};
      },
      Cause::io, HasSubstr(file));
}

TEST(Preflight, RefusesARunFolderThatOneRankCannotWriteTo) {
  const TemporaryFolder folder;
  // To the superuser, too, a directory of /proc cannot be written.
  expect_refused(
      [&](int rank) {
        return PreflightNeeds{rank == 1 ? "/proc/sys" : folder / "run", 1000, "abc"};
      },
      Cause::io, AllOf(HasSubstr("rank 1: "), HasSubstr("cannot write to the run folder")));
}

TEST(Preflight, TheSizeOfACheckpointIsThatOfParametersAndMoments) {
  EXPECT_GE(most_checkpoint_bytes(1'000'000, 64), 3 * 4 * 64e6);
  EXPECT_LE(most_checkpoint_bytes(1'000'000, 64), 3 * 4 * 64e6 + (32 << 20));
}

}  // namespace
}  // namespace micrec
