#include "cluster/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/cores.h"
#include "cluster/launch_environment.h"
#include "cluster/signals.h"
#include "cluster/thread_communicator.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

CommandOutcome alone(const std::string& arguments) {
  return shell(text("exec ", MICREC_JOB_PROGRAM, " ", arguments));
}

CommandOutcome under_mpirun(int ranks, const std::string& arguments) {
  return shell(
      text("exec ", MICREC_MPIEXEC, " -np ", ranks, " ", MICREC_JOB_PROGRAM, " ", arguments));
}

int times(const std::string& what, const std::string& output) {
  int count = 0;
  for (std::size_t at = output.find(what); at != std::string::npos;
       at = output.find(what, at + 1)) {
    ++count;
  }
  return count;
}

constexpr std::array<Cause, 6> kCauses = {Cause::usage,   Cause::data,       Cause::io,
                                          Cause::cluster, Cause::checkpoint, Cause::diverged};

TEST(RunJobAlone, ExitsWithTheBodysCode) {
  EXPECT_EQ(alone("return 0").exit_code, 0);
  EXPECT_EQ(alone("return 75").exit_code, 75);
}

TEST(RunJobAlone, ExitsWithTheCauseAndOneSentence) {
  for (const Cause cause : kCauses) {
    const CommandOutcome outcome = alone(text("all_throw ", static_cast<int>(cause)));
    EXPECT_EQ(outcome.exit_code, static_cast<int>(cause));
    EXPECT_EQ(outcome.output, "job_program: no file clicks.csv\n");
  }
}

TEST(RunJobAlone, SaysWhatOtherExceptionsMean) {
  const CommandOutcome bug = alone("logic_error");
  EXPECT_EQ(bug.exit_code, 1);
  EXPECT_EQ(bug.output, "job_program: unexpected error: index 3 of 2\n");
  EXPECT_EQ(alone("not_an_exception").exit_code, 1);
}

TEST(RunJobAlone, AGpuThatFailsIsACauseOfItsOwn) {
  for (const char* scene : {"gpu_fails", "gpu_fails_on_the_way_out"}) {
    const CommandOutcome outcome = alone(scene);
    EXPECT_EQ(outcome.exit_code, 5) << scene;
    EXPECT_THAT(outcome.output,
                AllOf(HasSubstr("job_program: the GPU failed: CUDA error: an illegal memory access "
                                "was encountered; "),
                      HasSubstr("--resume"), Not(HasSubstr("terminate"))));
  }
}

TEST(RunJobAlone, SaysWhoAskedForHowMuchMemory) {
  const CommandOutcome unknown = alone("bad_alloc");
  EXPECT_EQ(unknown.exit_code, 5);
  EXPECT_THAT(unknown.output,
              MatchesRegex("job_program: out of memory on the machine: .* of its .* "
                           "are free while this rank holds .*; micrec plan "
                           "--ranks=1 --memory=.*; use more ranks, .*\n"));
  const CommandOutcome tensor = alone("tensor_too_large");
  EXPECT_EQ(tensor.exit_code, 5);
  EXPECT_THAT(tensor.output, HasSubstr("4096.0 PiB more were asked for, and "));
  const CommandOutcome gpu = alone("last_gets_no_gpu_memory");
  EXPECT_EQ(gpu.exit_code, 5);
  EXPECT_EQ(gpu.output,
            "job_program: out of memory on GPU 3: 20.0 GiB more were asked for, and 512.0 MiB of "
            "its 79.2 GiB are free while this rank holds 78.6 GiB; micrec plan --ranks=1 "
            "--memory=79 with the run's flags says what a rank needs; use more ranks, a smaller "
            "--batch, fewer columns (--dim) or another --grid\n");
}

TEST(RunJobAlone, SetsTheThreadsOfATensorOperation) {
  EXPECT_THAT(alone("describe 3").output,
              AllOf(HasSubstr("rank 0 of 1, 3 threads, ATen 3"), HasSubstr("once")));
}

TEST(RunJobAlone, ASignalIsAWishThatTheBodyGrants) {
  for (const int number : StopSignals::usual()) {
    EXPECT_EQ(alone(text("stop ", number)).exit_code, kExitStopped) << "signal " << number;
  }
}

TEST(RunJobAlone, ASecondSignalEndsItAtOnce) {
  const Timer timer;
  EXPECT_EQ(alone(text("stop_at_once ", SIGTERM)).exit_code, 128 + SIGTERM);
  EXPECT_GE(timer.seconds(), 0.9) << "the same wish delivered twice was taken for a second one";
  EXPECT_LT(timer.seconds(), 20);
}

TEST(RunJobAlone, RefusesCopiesThatDoNotKnowEachOther) {
  const CommandOutcome copies =
      shell(text("OMPI_COMM_WORLD_SIZE=3 exec ", MICREC_JOB_PROGRAM, " return 0"));
  EXPECT_EQ(copies.exit_code, 5) << copies.output;
  EXPECT_THAT(copies.output, HasSubstr("3 processes were started together, but each is alone"));
  const CommandOutcome tasks =
      shell(text("SLURM_STEP_NUM_TASKS=2 exec ", MICREC_JOB_PROGRAM, " return 0"));
  EXPECT_EQ(tasks.exit_code, 5) << tasks.output;
  EXPECT_THAT(tasks.output, HasSubstr("srun started 2 copies"));
}

TEST(RunJobUnderMpirun, AGpuThatFailsEndsAllRanksWithItsRanksName) {
  for (const char* scene : {"gpu_fails", "gpu_fails_on_the_way_out"}) {
    const CommandOutcome outcome = under_mpirun(3, scene);
    EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
    EXPECT_EQ(
        times("job_program: rank 2 of 3: the GPU failed: CUDA error: an illegal memory access",
              outcome.output),
        1)
        << outcome.output;
  }
}

TEST(RunJobUnderMpirun, JoinsAllRanks) {
  const CommandOutcome outcome = under_mpirun(3, "describe 2");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(times(text("rank ", rank, " of 3, 2 threads, ATen 2"), outcome.output), 1)
        << outcome.output;
  }
  EXPECT_EQ(times("once", outcome.output), 1) << outcome.output;
}

TEST(RunJobUnderMpirun, NamesTheRankThatGotNoMemory) {
  const CommandOutcome outcome = under_mpirun(2, "last_gets_no_gpu_memory");
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.output, HasSubstr("rank 1 of 2: out of memory on GPU 3: 20.0 GiB more"));
  EXPECT_THAT(outcome.output, HasSubstr("micrec plan --ranks=2 --memory=79 "));
}

TEST(RunJobUnderMpirun, ReturnsTheBodysCode) {
  EXPECT_EQ(under_mpirun(2, "return 0").exit_code, 0);
  EXPECT_EQ(under_mpirun(2, "return 75").exit_code, 75);
}

TEST(RunJobUnderMpirun, OneRanksFailureIsTheRunsCauseAndCode) {
  for (const Cause cause : {Cause::io, Cause::cluster, Cause::diverged}) {
    const CommandOutcome outcome = under_mpirun(3, text("last_throws ", static_cast<int>(cause)));
    EXPECT_EQ(outcome.exit_code, static_cast<int>(cause)) << outcome.output;
    EXPECT_EQ(times("job_program: rank 2 of 3: row 7 of clicks.csv is wrong\n", outcome.output), 1)
        << outcome.output;
    EXPECT_EQ(times("job_program:", outcome.output), 1) << outcome.output;
  }
}

TEST(RunJobUnderMpirun, TheSameFailureOfAllRanksIsSaidOnceWithoutARank) {
  for (const Cause cause : {Cause::usage, Cause::data, Cause::checkpoint}) {
    const CommandOutcome outcome = under_mpirun(4, text("all_throw ", static_cast<int>(cause)));
    EXPECT_EQ(outcome.exit_code, static_cast<int>(cause)) << outcome.output;
    EXPECT_EQ(times("job_program: no file clicks.csv\n", outcome.output), 1) << outcome.output;
    EXPECT_EQ(times("clicks.csv", outcome.output), 1) << outcome.output;
  }
}

TEST(RunJobUnderMpirun, OfDifferentFailuresTheLowestRanksIsSaid) {
  const CommandOutcome outcome = under_mpirun(3, "each_throws 3");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_EQ(times("job_program: rank 0 of 3: part 0\n", outcome.output), 1) << outcome.output;
  EXPECT_EQ(times("job_program:", outcome.output), 1) << outcome.output;
}

TEST(RunJobUnderMpirun, AFailureEndsRanksThatDoNotListen) {
  for (const char* scene :
       {"last_throws_while_others_compute 4", "last_throws_after_others_end 4"}) {
    const Timer timer;
    const CommandOutcome outcome = under_mpirun(3, scene);
    EXPECT_EQ(outcome.exit_code, 4) << outcome.output;
    EXPECT_EQ(times("job_program: rank 2 of 3: row 7 of clicks.csv is wrong\n", outcome.output), 1)
        << outcome.output;
    EXPECT_LT(timer.seconds(), 30);
  }
}

TEST(RunJobUnderMpirun, ARankThatNeverComesIsNamed) {
  const CommandOutcome outcome = under_mpirun(3, "last_never_comes");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("job_program: rank 2 of 3 has not reached 'job.late' (collective 2): "),
            HasSubstr(" of 3 waited 0.3 s in 'job.late' (collective 2), no message from "
                      "rank 2")));
  EXPECT_EQ(times("job_program:", outcome.output), 1) << outcome.output;
}

double now_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds from what the culprit did to the end of mpirun, which must say this of it.
double seconds_to_end(const std::string& scene, int culprit, double deadline_seconds, int exit_code,
                      const std::string& said) {
  const CommandOutcome outcome = under_mpirun(4, text(scene, " ", culprit, " ", deadline_seconds));
  const double end = now_seconds();
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr(text("job_program: rank ", culprit, " of 4", said)))
      << outcome.output;
  EXPECT_EQ(times("job_program: ", outcome.output), 1) << outcome.output;
  const std::string mark = "acts at ";
  const std::size_t at = outcome.output.find(mark);
  if (at == std::string::npos) {
    ADD_FAILURE() << outcome.output;
    return 0;
  }
  return end - std::strtod(outcome.output.c_str() + at + mark.size(), nullptr);
}

TEST(RunJobUnderMpirun, TheRankThatIsKilledStoppedOrThrowsIsNamed) {
  constexpr double kDeadlineSeconds = 3;
  struct Fault {
    const char* scene;
    int exit_code;
    const char* said;
  };
  for (const Fault& fault :
       {Fault{"kill", 5, " was killed by signal 9 (SIGKILL) in no collective"},
        Fault{"freeze", 5,
              " has not reached 'job.halo' (collective 12): its process is stopped by a signal"},
        Fault{"throw", 4, ": no room for shard 3"}}) {
    double longest = 0;
    for (int rank = 0; rank < 4; ++rank) {
      longest = std::max(longest, seconds_to_end(fault.scene, rank, kDeadlineSeconds,
                                                 fault.exit_code, fault.said));
    }
    std::printf("%-6s on each of 4 ranks, deadline %.0f s: %.1f s to the end at most\n",
                fault.scene, kDeadlineSeconds, longest);
    EXPECT_LT(longest, kDeadlineSeconds + 30);
  }
}

TEST(RunJobUnderMpirun, TheRankThatCrashesComputesLeavesOrGoesElsewhereIsNamed) {
  seconds_to_end("crash", 2, 30, 5, " was killed by signal 11 (SIGSEGV) in no collective");
  seconds_to_end("compute", 1, 2, 5,
                 " has not reached 'job.halo' (collective 12): its process is ");
  seconds_to_end("leave", 0, 2, 5, " has not reached 'job.halo' (collective 12): its process ");
  seconds_to_end("disagree", 3, 2, 5, " is in 'job.another' (collective 12) while rank ");
  // The others first have a collective in which nothing is to come from it.
  seconds_to_end("freeze_unheard", 0, 2, 5, " has not reached 'job.halo' (collective 13): ");
}

TEST(RunJobUnderMpirun, CheckedCollectivesSayWhereTheRanksPart) {
  const char* const said[] = {"all_reduce 'job.loss' (collective 2)", "of Double, 8 bytes a row",
                              "rank 0 expects 3 rows of rank 1, which sends 4"};
  for (int kind = 0; kind < 3; ++kind) {
    const CommandOutcome outcome = under_mpirun(3, text("mismatch ", kind));
    EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
    EXPECT_THAT(outcome.output,
                AllOf(HasSubstr("job_program: the ranks disagree: "), HasSubstr(said[kind])));
    EXPECT_EQ(times("job_program:", outcome.output), 1) << outcome.output;
  }
}

TEST(RunJobUnderMpirun, ASignalToAWatchdogReachesItsRank) {
  const CommandOutcome outcome = under_mpirun(2, text("signal_parent ", SIGUSR1));
  EXPECT_EQ(outcome.exit_code, kExitStopped) << outcome.output;
}

TEST(RunJobUnderMpirun, OtherExceptionsEndAllRanksToo) {
  const CommandOutcome outcome = under_mpirun(2, "logic_error");
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_EQ(times("job_program: unexpected error: index 3 of 2\n", outcome.output), 1)
      << outcome.output;
}

TEST(RunJobUnderMpirun, ASignalToOneRankStopsAll) {
  const CommandOutcome outcome = under_mpirun(3, text("stop ", SIGUSR2));
  EXPECT_EQ(outcome.exit_code, kExitStopped) << outcome.output;
  EXPECT_THAT(outcome.output, Not(HasSubstr("job_program:")));
}

TEST(Job, CanBeMadeOverThreadRanks) {
  const ComputeThreads threads(3);
  run_ranks(4, [](Communicator& group) {
    EXPECT_EQ(compute_threads(), 3);
    Job job(group, /*threads=*/2);
    EXPECT_EQ(compute_threads(), 2);
    EXPECT_EQ(job.rank(), group.rank());
    EXPECT_EQ(job.world_size(), 4);
    EXPECT_TRUE(job.device().is_cpu());
    EXPECT_FALSE(job.agree_to_stop("test.stop"));
  });
}

TEST(Job, SharesTheCoresThatRanksHaveInCommon) {
  EXPECT_EQ(share_of_cores({{0, 1, 2, 3}}, 0), 4);
  EXPECT_EQ(share_of_cores({{0, 1, 2, 3}, {0, 1, 2, 3}}, 1), 2);
  EXPECT_EQ(share_of_cores({{0, 1}, {2, 3}}, 0), 2) << "bound apart: each has its own";
  EXPECT_EQ(share_of_cores({{0, 1, 2}, {0, 1, 2}, {3}}, 0), 1);
  EXPECT_EQ(share_of_cores({{0, 1, 2}, {0, 1, 2}, {3}}, 2), 1);
  EXPECT_EQ(share_of_cores({{0}, {0}, {0}}, 2), 1) << "never none";
}

TEST(StopSignals, PutTheFormerHandlersBack) {
  struct sigaction before {};
  struct sigaction after {};
  sigaction(SIGUSR2, nullptr, &before);
  {
    const StopSignals signals;
    EXPECT_FALSE(stop_signal_received());
    raise(SIGUSR2);
    EXPECT_TRUE(stop_signal_received());
  }
  sigaction(SIGUSR2, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
  const StopSignals again;
  EXPECT_FALSE(stop_signal_received()) << "a former run's wish is not this one's";
}

LaunchEnvironment environment_of(const std::map<std::string, std::string>& variables) {
  return read_launch_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(LaunchEnvironment, KnowsTheLaunchers) {
  const LaunchEnvironment none = environment_of({});
  EXPECT_FALSE(none.has_mpi);
  EXPECT_EQ(none.size, 1);

  const LaunchEnvironment open_mpi = environment_of(
      {{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  EXPECT_TRUE(open_mpi.has_mpi);
  EXPECT_EQ(open_mpi.rank, 3);
  EXPECT_EQ(open_mpi.size, 4);

  const LaunchEnvironment mpich = environment_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}});
  EXPECT_TRUE(mpich.has_mpi);
  EXPECT_EQ(mpich.rank, 1);
  EXPECT_EQ(mpich.size, 2);

  const LaunchEnvironment srun = environment_of({{"SLURM_PROCID", "5"},
                                                 {"SLURM_NTASKS", "8"},
                                                 {"SLURM_STEP_NUM_TASKS", "8"},
                                                 {"PMIX_RANK", "5"}});
  EXPECT_TRUE(srun.has_mpi);
  EXPECT_EQ(srun.rank, 5);
  EXPECT_EQ(srun.size, 8);
}

TEST(LaunchEnvironment, KnowsWhenTheJobEnds) {
  const auto left = [](const char* end) {
    return seconds_until_job_ends(
        [&](const char* name) { return std::string(name) == "SLURM_JOB_END_TIME" ? end : nullptr; },
        1'800'000'000.5);
  };
  EXPECT_EQ(left("1800000060"), 59.5);
  EXPECT_EQ(left("1799999990"), -10.5);
  EXPECT_EQ(left(nullptr), std::nullopt);
  EXPECT_EQ(left(""), std::nullopt);
  EXPECT_EQ(left("never"), std::nullopt);
  EXPECT_EQ(left("0"), std::nullopt) << "no limit";
  EXPECT_EQ(left("4294967295"), std::nullopt) << "no limit";
}

TEST(StopSignals, AreReadFromNames) {
  EXPECT_EQ(parse_signals("TERM,USR1"), (std::vector<int>{SIGTERM, SIGUSR1}));
  EXPECT_EQ(parse_signals("SIGINT,INT"), (std::vector<int>{SIGINT}));
  EXPECT_EQ(parse_signals(""), std::vector<int>{});
  for (const char* wrong : {"KILL", "TERM,", "15", "STOP", "term"}) {
    EXPECT_EQ(parse_signals(wrong), std::nullopt) << wrong;
  }
}

TEST(LaunchEnvironment, ABatchScriptRunsAlone) {
  const LaunchEnvironment batch = environment_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}});
  EXPECT_FALSE(batch.has_mpi);
  EXPECT_EQ(batch.size, 1);
}

TEST(LaunchEnvironment, RefusesCopiesBySlurmWithoutMpi) {
  expect_error(Cause::cluster, {"8 copies", "--mpi=pmix"}, [] {
    environment_of({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}});
  });
}

}  // namespace
}  // namespace micrec
