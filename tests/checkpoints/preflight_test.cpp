#include "checkpoints/preflight.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoints/run_folder.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

const WaitForFolder kNoWait = {[] { return false; }, [](const std::string&) {}};

PreflightNeeds needs(const std::string& run_dir, double bytes, const std::string& fingerprint) {
  PreflightNeeds needed;
  needed.run_dir = run_dir;
  needed.checkpoint_bytes = bytes;
  needed.dataset_fingerprint = fingerprint;
  return needed;
}

// What every one of three ranks is told; each must be told the same.
void expect_refused(const std::function<PreflightNeeds(int rank)>& needs_of, Cause cause,
                    const std::vector<std::string>& parts) {
  run_ranks(3, [&](Communicator& group) {
    expect_error(cause, parts, [&] { preflight(needs_of(group.rank()), group); });
  });
}

TEST(Preflight, PassesWhereAllIsWellAndLeavesNothingBehind) {
  for (const Commit commit : {Commit::rename, Commit::marker}) {
    const TemporaryFolder folder;
    run_ranks(3, [&](Communicator& group) {
      preflight({.run_dir = folder.path(),
                 .commit = commit,
                 .checkpoint_bytes = 1000,
                 .dataset_fingerprint = "abc",
                 .device = "cpu",
                 .ranks_of_machine = 3},
                group);
    });
    EXPECT_EQ(folder.files(), 0);
  }
}

TEST(Preflight, RefusesAnotherDatasetOnOneRank) {
  const TemporaryFolder folder;
  expect_refused([&](int rank) { return needs(folder.path(), 1000, rank == 2 ? "abd" : "abc"); },
                 Cause::data, {"rank 2 has another dataset than rank 0: expected abc, got abd"});
}

TEST(Preflight, RefusesAnotherDeviceOnOneRank) {
  const TemporaryFolder folder;
  expect_refused(
      [&](int rank) {
        PreflightNeeds needed = needs(folder.path(), 1000, "abc");
        if (rank == 1) needed.device = "cuda";
        return needed;
      },
      Cause::cluster, {"rank 1 has another device than rank 0: expected cpu, got cuda"});
}

TEST(Preflight, RefusesTooLittleSharedMemoryForTheRanksOfAMachine) {
  const TemporaryFolder folder;
  expect_refused(
      [&](int) {
        PreflightNeeds needed = needs(folder.path(), 1000, "abc");
        needed.ranks_of_machine = 100'000'000;
        return needed;
      },
      Cause::io, {"/dev/shm has ", "100000000 ranks"});
}

TEST(Preflight, RefusesAFileSystemWithoutRoomForTwoCheckpoints) {
  const TemporaryFolder folder;
  expect_refused([&](int) { return needs(folder.path(), 1e18, "abc"); }, Cause::io,
                 {"free, expected", "for two checkpoints", "--run_dir"});
}

TEST(Preflight, CountsTheCoefficientsOfItemRegression) {
  const TemporaryFolder folder;
  expect_refused(
      [&](int) {
        PreflightNeeds needed = needs(folder.path(), 1000, "abc");
        needed.coefficient_bytes = 1e18;
        return needed;
      },
      Cause::io, {"for two checkpoints and the coefficients between items", "--run_dir"});
}

TEST(Preflight, RefusesARunFolderInWhichOneRankCannotSave) {
  const TemporaryFolder folder;
  // To the superuser, too, a directory of /proc cannot be written.
  expect_refused(
      [&](int rank) { return needs(rank == 1 ? "/proc/sys" : folder.path(), 1000, "abc"); },
      Cause::io,
      {"rank 1: ", "no checkpoint can be saved in the run folder /proc/sys",
       "cannot use /proc/sys/.preflight-1-"});
}

TEST(RunFolder, IsMadeAndHeldByOneRunAtATime) {
  const TemporaryFolder folder;
  const std::string run_dir = folder / "runs/new";
  run_ranks(3, [&](Communicator& group) {
    const HeldFolder held = hold_run_folder(run_dir, this_process(), group, kNoWait);
    EXPECT_EQ(held.lock != nullptr, group.rank() == 0);
    EXPECT_FALSE(held.stopped);
    // On all ranks, and with the first's name.
    expect_error(Cause::io,
                 {run_dir, "in use by another run", "process " + std::to_string(getpid())},
                 [&] { hold_run_folder(run_dir, this_process(), group, kNoWait); });
  });
  EXPECT_TRUE(std::filesystem::is_empty(run_dir)) << "the lock is given back";
}

TEST(RunFolder, ThatCannotBeMadeIsNamed) {
  const TemporaryFolder folder;
  const std::string file = folder.write("file", "not a folder");
  run_ranks(2, [&](Communicator& group) {
    expect_error(Cause::io, {file},
                 [&] { hold_run_folder(file + "/run", this_process(), group, kNoWait); });
  });
}

TEST(Preflight, TheSizeOfACheckpointIsThatOfParametersAndMoments) {
  EXPECT_GE(most_checkpoint_bytes(1'000'000, 64), 3 * 4 * 64e6);
  EXPECT_LE(most_checkpoint_bytes(1'000'000, 64), 3 * 4 * 64e6 + (32 << 20));
}

}  // namespace
}  // namespace micrec
