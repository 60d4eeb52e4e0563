// The contract of communicators on NCCL itself. Started by mpirun: a rank a process. Else ranks are
// threads of this process, as many as MICREC_TEST_RANKS says, or a rank a GPU. Several ranks share
// a GPU where NCCL_MULTI_RANK_GPU_ENABLE=1 and NCCL lets them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/text.h"
#include "cluster/device.h"
#include "cluster/health/progress_board.h"
#include "cluster/mpi_communicator.h"
#include "cluster/nccl_communicator.h"
#include "cluster/thread_communicator.h"
#include "tests/cluster/contract.h"
#include "through_gpu.h"

namespace micrec {
namespace {

// Brings the processes together after a test whose own communicator has failed on purpose; null
// where ranks are threads.
std::unique_ptr<MpiCommunicator> g_between_tests;
int g_ranks = 1;
std::vector<c10::Device> g_devices;  // of every rank that is in this process
std::string g_why_skipped;

Passage passage_to(c10::Device device) {
  return {[device](const at::Tensor& tensor) { return tensor.to(device); },
          [](const at::Tensor& result) { return result.cpu(); }};
}

std::unique_ptr<NcclLink> link_on(c10::Device device) {
  return g_ranks > 1 ? make_nccl_link(device) : nullptr;
}

// Where the processes see each other, as run_job makes it. Ranks: collective.
std::unique_ptr<ProgressBoard> make_board() {
  std::unique_ptr<ProgressBoard> board;
  at::Tensor name = at::zeros({64}, at::kByte);
  if (g_between_tests->rank() == 0) {
    board = ProgressBoard::create(g_ranks);
    std::memcpy(name.mutable_data_ptr(), board->name().data(), board->name().size());
  }
  g_between_tests->broadcast("test.board", name, 0);
  if (!board) board = ProgressBoard::open(static_cast<const char*>(name.const_data_ptr()));
  g_between_tests->barrier("test.board");
  board->remove_name();
  board->take_line(g_between_tests->rank(), g_between_tests->rank());
  return board;
}

void run_as_process(const ContractTest& test, const CommunicatorOptions& options,
                    const std::function<void(Communicator&)>& body) {
  const std::unique_ptr<ProgressBoard> board = make_board();
  const std::unique_ptr<MpiCommunicator> host = MpiCommunicator::world(options);
  host->show_progress_on(board.get());
  std::unique_ptr<NcclLink> link = link_on(g_devices[0]);
  const NcclId id = link ? NcclCommunicator::share_id(*g_between_tests, *link) : NcclId{};
  NcclCommunicator nccl(*host, g_devices[0], std::move(link), id, options);
  ThroughGpu group(nccl, passage_to(g_devices[0]));
  g_between_tests->barrier("test.joined");
  bool failed = false;
  try {
    body(group);
  } catch (const std::exception& exception) {
    EXPECT_TRUE(test.is_of_failure) << exception.what();
    failed = true;
    board->give_verdict({group.rank(), static_cast<int>(Cause::cluster), exception.what(), 0});
    group.abort(exception.what());
  }
  if (on_any_rank(*g_between_tests, "test.failed", failed)) group.abort("the test is over");
  g_between_tests->barrier("test.over");
}

void run_as_threads(const ContractTest& test, const CommunicatorOptions& options,
                    const std::function<void(Communicator&)>& body) {
  const NcclId id = g_ranks > 1 ? make_nccl_link(g_devices[0])->make_id() : NcclId{};
  std::atomic<int> joined = 0;
  std::atomic<bool> is_unjoined = false;
  try {
    run_ranks(
        g_ranks,
        [&](Communicator& world) {
          const c10::Device device = g_devices[static_cast<std::size_t>(world.rank())];
          use_device(device);
          std::unique_ptr<NcclCommunicator> nccl;
          try {
            nccl = std::make_unique<NcclCommunicator>(dynamic_cast<HostCommunicator&>(world),
                                                      device, link_on(device), id, options);
          } catch (const std::exception& error) {
            ADD_FAILURE() << "rank " << world.rank() << ": " << error.what();
            is_unjoined = true;
            throw;
          }
          // A body that fails must not end the joining of others.
          for (++joined; joined < g_ranks && !is_unjoined;) std::this_thread::yield();
          ThroughGpu group(*nccl, passage_to(device));
          body(group);
        },
        options);
  } catch (const std::exception& exception) {
    EXPECT_TRUE(test.is_of_failure) << exception.what();
  }
}

class NcclOnGpus : public testing::TestWithParam<std::tuple<ContractTest, bool>> {};

TEST_P(NcclOnGpus, Holds) {
  if (!g_why_skipped.empty()) GTEST_SKIP() << g_why_skipped;
  const auto& [test, in_part] = GetParam();
  const int ranks = g_ranks - (in_part ? kRanksBesideAPart : 0);
  if (ranks < 1) GTEST_SKIP() << "needs more ranks to take a part of";
  test.check(
      [&test = test, ranks, in_part = in_part](const CommunicatorOptions& options,
                                               const std::function<void(Communicator&)>& body) {
        const auto on_ranks = [&](Communicator& group) {
          in_part ? run_in_part(group, ranks, body) : body(group);
        };
        g_between_tests ? run_as_process(test, options, on_ranks)
                        : run_as_threads(test, options, on_ranks);
      });
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclOnGpus,
                         testing::Combine(testing::ValuesIn(contract_tests_of_gpus()),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name +
                                  (std::get<1>(info.param) ? "_in_part" : "_whole");
                         });

void choose_devices(Communicator& world, const LaunchEnvironment& launch) {
  try {
    const c10::Device device = choose_device("cuda", find_gpus(), launch, world).device;
    g_devices.at(g_between_tests ? 0 : static_cast<std::size_t>(world.rank())) = device;
    if (g_between_tests) use_device(device);
  } catch (const Error& error) {
    if (world.rank() != 0) return;  // all ranks throw the same
    g_why_skipped = error.what();
    std::printf("Skipped: %s\n", error.what());
  }
}

int run_all_as_threads() {
  const char* const wanted = std::getenv("MICREC_TEST_RANKS");
  const std::size_t gpus = find_gpus().identities.size();
  g_ranks = wanted != nullptr ? static_cast<int>(parse_integer(wanted).value_or(1))
                              : std::max(1, static_cast<int>(gpus));
  g_devices.resize(static_cast<std::size_t>(g_ranks), c10::Device(c10::kCPU));
  std::printf("Ranks are %d threads on %zu GPUs\n", g_ranks, gpus);
  run_ranks(g_ranks, [](Communicator& world) { choose_devices(world, {}); });
  return RUN_ALL_TESTS();
}

int run_all_as_process(MpiSession& session, const LaunchEnvironment& launch) {
  g_ranks = session.size();
  g_devices.resize(1, c10::Device(c10::kCPU));
  print_only_failures_of(session.rank());
  g_between_tests = MpiCommunicator::world({.deadline_seconds = 100});
  choose_devices(*g_between_tests, launch);
  g_why_skipped = on_any_rank(*g_between_tests, "test.skipped", !g_why_skipped.empty())
                      ? "rank 0 says why"
                      : "";
  const int failed = RUN_ALL_TESTS();
  g_between_tests.reset();
  session.finish();
  return failed;
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  const micrec::LaunchEnvironment launch = micrec::read_launch_environment();
  testing::InitGoogleTest(&argc, argv);
  if (!launch.has_mpi) return micrec::run_all_as_threads();
  micrec::MpiSession session;
  return micrec::run_all_as_process(session, launch);
}
