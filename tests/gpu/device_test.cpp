// Which rank gets which GPU, on machines made up here.
#include "cluster/device.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>

#include "cluster/health/failure.h"
#include "cluster/thread_communicator.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A process that sees the GPUs named by letters: "AB".
VisibleGpus seeing(const std::string& names) {
  VisibleGpus gpus;
  for (const char name : names) {
    VisibleGpus::Identity identity{};
    identity[7] = static_cast<std::uint8_t>(name);
    gpus.identities.push_back(identity);
  }
  if (names.empty()) gpus.why_none = "no NVIDIA driver is loaded";
  gpus.has_driver = !names.empty();
  gpus.nccl_version = 22809;
  return gpus;
}

struct Process {
  VisibleGpus gpus;
  LaunchEnvironment launch;
  std::string wanted = "cuda";
};

Process process(const std::string& names, int local_rank = -1, const std::string& wanted = "cuda") {
  Process made{seeing(names), {}, wanted};
  made.launch.local_rank = local_rank;
  return made;
}

std::vector<DeviceChoice> choices(const std::vector<Process>& processes) {
  std::vector<DeviceChoice> made(processes.size());
  run_ranks(static_cast<int>(processes.size()), [&](Communicator& world) {
    const Process& own = processes[world.rank()];
    made[world.rank()] = choose_device(own.wanted, own.gpus, own.launch, world);
  });
  return made;
}

std::vector<int> devices(const std::vector<Process>& processes) {
  std::vector<int> numbers;
  for (const DeviceChoice& choice : choices(processes)) {
    EXPECT_TRUE(choice.device.is_cuda());
    numbers.push_back(choice.device.index());
  }
  return numbers;
}

std::string refusal_of(const std::vector<Process>& processes) {
  std::string refusal;
  std::mutex mutex;
  EXPECT_THROW(run_ranks(static_cast<int>(processes.size()),
                         [&](Communicator& world) {
                           const Process& own = processes[world.rank()];
                           try {
                             choose_device(own.wanted, own.gpus, own.launch, world);
                           } catch (const Error& error) {
                             EXPECT_EQ(error.cause(), Cause::cluster);
                             const std::lock_guard<std::mutex> lock(mutex);
                             EXPECT_TRUE(refusal.empty() || refusal == error.what())
                                 << "all ranks say the same";
                             refusal = error.what();
                             throw;
                           }
                         }),
               Error);
  return refusal;
}

TEST(ChooseDevice, GivesEveryRankOfAMachineItsOwnGpu) {
  EXPECT_THAT(devices({process("ABCD"), process("ABCD"), process("ABCD")}), ElementsAre(0, 1, 2));
  // By the rank on the machine where the launcher says it: here ranks are dealt out to two
  // machines.
  EXPECT_THAT(devices({process("AB", 0), process("CD", 0), process("AB", 1), process("CD", 1)}),
              ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(devices({process("AB", 1), process("AB", 0)}), ElementsAre(1, 0));
}

TEST(ChooseDevice, KnowsGpusByIdentityWhereEachRankSeesOnlyItsOwn) {
  EXPECT_THAT(devices({process("A", 0), process("B", 1), process("C", 2)}), ElementsAre(0, 0, 0));
  // CUDA_VISIBLE_DEVICES may also turn them round.
  EXPECT_THAT(devices({process("AB"), process("BA")}), ElementsAre(0, 0));
}

TEST(ChooseDevice, MovesARankToAnotherGpuWhereOneSeesFewer) {
  EXPECT_THAT(devices({process("AB"), process("A")}), ElementsAre(1, 0));
  EXPECT_THAT(devices({process("AB"), process("BC"), process("A")}), ElementsAre(1, 1, 0));
}

TEST(ChooseDevice, RefusesMoreRanksThanGpus) {
  EXPECT_THAT(refusal_of({process("AB"), process("AB"), process("AB")}),
              AllOf(HasSubstr("3 ranks see the 2 GPUs"), HasSubstr("--device=cpu"),
                    HasSubstr("NCCL_MULTI_RANK_GPU_ENABLE=1")));
  EXPECT_THAT(refusal_of({process("A", 0, "auto"), process("A", 1, "auto")}),
              HasSubstr("2 ranks see the one GPU"));
}

TEST(ChooseDevice, LetsRanksShareWhereItIsAskedForAndNcclCan) {
  std::vector<Process> processes = {process("AB", 0), process("AB", 1), process("AB", 2),
                                    process("AB", 3)};
  for (Process& one : processes) one.gpus.sharing_asked_for = true;
  EXPECT_THAT(refusal_of(processes),
              AllOf(HasSubstr("NCCL 2.28.9 cannot share a GPU"), HasSubstr("2.30.0 or newer can")));
  for (Process& one : processes) one.gpus.nccl_version = 23001;
  EXPECT_THAT(devices(processes), ElementsAre(0, 1, 0, 1));
  EXPECT_EQ(choices(processes)[3].note, "4 ranks share 2 GPUs");
}

TEST(ChooseDevice, AutoFallsToTheCpuAndSaysWhy) {
  // One rank without a GPU is enough.
  for (const DeviceChoice& choice : choices({process("A", 0, "auto"), process("", 0, "auto")})) {
    EXPECT_TRUE(choice.device.is_cpu());
    EXPECT_EQ(choice.note, "rank 1 of 2 sees no GPU: no NVIDIA driver is loaded");
  }
  Process hidden = process("", -1, "auto");
  hidden.gpus.has_driver = true;
  hidden.gpus.why_none = "CUDA_VISIBLE_DEVICES hides them all";
  EXPECT_EQ(choices({hidden})[0].note, "there is no GPU: CUDA_VISIBLE_DEVICES hides them all");
}

TEST(ChooseDevice, AutoIsSilentWhereNobodyExpectsAGpu) {
  for (const DeviceChoice& choice : choices({process("", 0, "auto"), process("", 1, "auto")})) {
    EXPECT_TRUE(choice.device.is_cpu());
    EXPECT_EQ(choice.note, "");
  }
}

TEST(ChooseDevice, CudaIsRefusedWithoutAGpu) {
  EXPECT_THAT(refusal_of({process("")}),
              AllOf(HasSubstr("no NVIDIA driver is loaded"), HasSubstr("--device=cpu")));
  EXPECT_THAT(refusal_of({process("A"), process("")}), HasSubstr("rank 1 of 2 sees no GPU"));
}

TEST(ChooseDevice, CpuNeedsNothingAndTakesNothing) {
  for (const DeviceChoice& choice : choices({process("A", 0, "cpu"), process("", 0, "cpu")})) {
    EXPECT_TRUE(choice.device.is_cpu());
    EXPECT_EQ(choice.note, "");
  }
}

TEST(ChooseDevice, RefusesRanksThatWantDifferentThings) {
  EXPECT_THAT(refusal_of({process("A", 0, "cuda"), process("B", 0, "cpu")}),
              AllOf(HasSubstr("rank 0 was started with --device=cuda"), HasSubstr("=cpu")));
}

TEST(ChooseDevice, RefusesCopiesThatDoNotKnowOfEachOther) {
  Process copy = process("AB", 3);
  copy.launch.size = 4;
  EXPECT_THAT(refusal_of({copy}), AllOf(HasSubstr("started 4 processes"), HasSubstr("mpirun")));
  copy.launch.size = 1;
  copy.launch.local_size = 4;
  EXPECT_THAT(refusal_of({copy}), HasSubstr("started 4 processes"));
  copy.wanted = "cpu";
  EXPECT_TRUE(choices({copy})[0].device.is_cpu());
}

TEST(ChooseDevice, RefusesAWordThatIsNoDevice) {
  Process odd = process("A", 0, "tpu");
  run_ranks(1, [&](Communicator& world) {
    EXPECT_THROW(choose_device("tpu", odd.gpus, odd.launch, world), Error);
  });
}

TEST(FindGpus, SaysWhyThereIsNone) {
  const VisibleGpus gpus = find_gpus();
  EXPECT_EQ(gpus.identities.empty(), !gpus.why_none.empty()) << gpus.why_none;
  if (gpus.identities.empty()) {
    std::printf("no GPU here: %s\n", gpus.why_none.c_str());
  } else {
    EXPECT_NE(gpus.identities.front(), VisibleGpus::Identity{});
  }
}

TEST(NcclVersionName, ReadsBothWaysOfCounting) {
  EXPECT_EQ(nccl_version_name(22809), "2.28.9");
  EXPECT_EQ(nccl_version_name(23000), "2.30.0");
  EXPECT_EQ(nccl_version_name(2804), "2.8.4");
}

TEST(LaunchEnvironment, KnowsTheRankOnTheMachine) {
  const auto environment_of = [](const std::map<std::string, std::string>& variables) {
    return read_launch_environment([&](const char* name) -> const char* {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  };
  EXPECT_EQ(environment_of({}).local_rank, -1);
  const LaunchEnvironment open_mpi = environment_of({{"OMPI_COMM_WORLD_SIZE", "8"},
                                                     {"OMPI_COMM_WORLD_RANK", "5"},
                                                     {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                                     {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
  EXPECT_EQ(open_mpi.local_rank, 1);
  EXPECT_EQ(open_mpi.local_size, 4);
  const LaunchEnvironment hydra =
      environment_of({{"PMI_RANK", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
  EXPECT_EQ(hydra.local_rank, 2);
  EXPECT_EQ(hydra.local_size, 3);
  const LaunchEnvironment srun =
      environment_of({{"PMIX_RANK", "6"}, {"SLURM_LOCALID", "2"}, {"SLURM_STEP_NUM_TASKS", "8"}});
  EXPECT_EQ(srun.local_rank, 2);
  EXPECT_EQ(srun.size, 8);
}

TEST(LaunchEnvironment, RefusesCopiesByTorchrun) {
  expect_error(Cause::cluster, {"torchrun started 4 copies", "mpirun"}, [] {
    read_launch_environment([](const char* name) -> const char* {
      const std::string wanted = name;
      return wanted == "WORLD_SIZE" ? "4" : wanted == "TORCHELASTIC_RUN_ID" ? "none" : nullptr;
    });
  });
}

TEST(GpuFailure, IsToldFromOtherErrorsOfLibTorch) {
  const c10::SourceLocation here = {__func__, __FILE__, __LINE__};
  EXPECT_FALSE(describe_gpu_failure(std::runtime_error("CUDA error")));
  EXPECT_FALSE(describe_gpu_failure(c10::Error(here, "shape [2] is invalid")));
  EXPECT_FALSE(describe_gpu_failure(c10::OutOfMemoryError(here, "CUDA out of memory.")));
  for (const char* message :
       {"CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later",
        "CUDA driver error: unknown error",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"}) {
    const std::optional<std::string> failure = describe_gpu_failure(c10::Error(here, message));
    ASSERT_TRUE(failure) << message;
    EXPECT_THAT(*failure, AllOf(HasSubstr("the GPU failed: CUDA"), Not(HasSubstr("\n"))));
  }
  EXPECT_THAT(*describe_gpu_failure(c10::AcceleratorError(here, 2, "CUDA error: out of memory")),
              AllOf(HasSubstr("no memory left for its libraries"), HasSubstr("--batch")));
}

}  // namespace
}  // namespace micrec
