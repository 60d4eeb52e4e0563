// NcclCommunicator itself over an NCCL made of threads: runs without a GPU.
#include "cluster/nccl_communicator.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <exception>

#include "base/timer.h"
#include "cluster/thread_communicator.h"
#include "fake_nccl.h"
#include "tests/cluster/contract.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

using Body = std::function<void(NcclCommunicator& group)>;

void run_on(FakeNccl& nccl, int ranks, const CommunicatorOptions& options, const Body& body,
            c10::Device device = c10::Device(c10::kCPU)) {
  const NcclId id = nccl.make_id();  // not by a collective, so that a body's first one is number 1
  std::barrier<> joined(ranks);      // nor this: a body that fails must not end others' joining
  run_ranks(
      ranks,
      [&](Communicator& host) {
        NcclCommunicator group(host, nccl.link(host.rank(), device), id, options);
        joined.arrive_and_wait();
        body(group);
      },
      options);
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.cause(), Cause::cluster);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

at::Tensor some_rows(std::int64_t rows) { return at::arange(2 * rows, at::kFloat).view({rows, 2}); }

class NcclContract : public testing::TestWithParam<std::tuple<ContractTest, int, bool>> {};

TEST_P(NcclContract, Holds) {
  const auto& [test, ranks, in_part] = GetParam();
  test.check([ranks = ranks, in_part = in_part](const CommunicatorOptions& options,
                                                const std::function<void(Communicator&)>& body) {
    FakeNccl nccl;
    std::atomic<int> bodies{0};
    const auto counted = [&](Communicator& group) {
      ++bodies;
      EXPECT_EQ(group.size(), ranks);
      body(group);
    };
    try {
      run_on(nccl, in_part ? ranks + kRanksBesideAPart : ranks, options,
             [&](NcclCommunicator& group) {
               in_part ? run_in_part(group, ranks, counted) : counted(group);
             });
    } catch (const std::exception&) {
      // What it was is for the body to check.
    }
    EXPECT_EQ(bodies, ranks);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclContract,
                         testing::Combine(testing::ValuesIn(contract_tests()),
                                          testing::Values(1, 2, 3, 4, 5, 8), testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_at_" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_in_part" : "");
                         });

TEST(NcclCommunicator, LeavesTensorsInMainMemoryToTheHost) {
  FakeNccl nccl;
  run_on(
      nccl, 3, {},
      [](NcclCommunicator& group) {
        const at::Tensor all = group.all_gather("test.host", some_rows(2), {2, 2, 2});
        EXPECT_EQ(all.size(0), 6);
        at::Tensor sum = at::ones({4}, at::kFloat);
        group.all_reduce("test.host", sum);
        EXPECT_TRUE(at::equal(sum, at::full({4}, 3, at::kFloat)));
      },
      c10::Device(c10::kMeta));
  EXPECT_EQ(nccl.seen(0).groups, 0);
}

TEST(NcclCommunicator, MovesOnlyWhatRanksHaveForEachOther) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [](NcclCommunicator& group) {
    // Rank 0 has three rows for rank 2, and a row for itself.
    const bool sends = group.rank() == 0;
    const bool receives = group.rank() == 2;
    const at::Tensor received =
        group.all_to_all("test.rows", some_rows(sends ? 4 : 0), {sends ? 1 : 0, 0, sends ? 3 : 0},
                         {sends      ? 1
                          : receives ? 3
                                     : 0,
                          0, 0});
    const at::Tensor expected = receives ? some_rows(4).slice(0, 1, 4) : some_rows(sends ? 1 : 0);
    EXPECT_TRUE(at::equal(received, expected)) << group.rank();
  });
  EXPECT_EQ(nccl.seen(0).bytes_sent, 3 * 2 * 4);
  EXPECT_EQ(nccl.seen(1).bytes_sent, 0);
  EXPECT_EQ(nccl.seen(2).bytes_sent, 0);
}

TEST(NcclCommunicator, HasSeveralTransfersInFlight) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [](NcclCommunicator& group) {
    const std::vector<std::int64_t> one_each = {1, 1, 1};
    const at::Tensor own = at::full({1, 2}, group.rank(), at::kFloat);
    const at::Tensor full = at::add(at::arange(6, at::kFloat).view({3, 2}), 10 * group.rank());
    const auto gathered = group.start_all_gather("test.gather", own, one_each);
    const auto exchanged = group.start_all_to_all("test.exchange", full, one_each, one_each);
    at::Tensor sum = at::full({1}, 2, at::kInt);
    group.all_reduce("test.between", sum);
    EXPECT_EQ(sum.item<int>(), 6);
    const at::Tensor all = gathered->wait();
    const at::Tensor received = exchanged->wait();
    for (int q = 0; q < 3; ++q) {
      EXPECT_EQ(all[q][1].item<float>(), q);
      EXPECT_EQ(received[q][0].item<float>(), 10 * q + 2 * group.rank());
    }
    const LedgerEntries entries = group.ledger().snapshot();
    const LedgerEntry& entry = entries.at("test.gather");
    EXPECT_EQ(entry.calls, 1);
    EXPECT_EQ(entry.bytes_sent, 2 * 8);
    EXPECT_EQ(entry.bytes_received, 2 * 8);
    EXPECT_GT(entry.hidden_seconds, 0);
  });
  EXPECT_EQ(nccl.seen(0).leaves, 1);
}

TEST(NcclCommunicator, ATransferThatNobodyWaitsForIsAFailure) {
  FakeNccl nccl;
  EXPECT_THROW(run_on(nccl, 2, {.deadline_seconds = 60},
                      [](NcclCommunicator& group) {
                        group.start_all_gather("test.lost", some_rows(1), {1, 1}).reset();
                        group.barrier("test.after");
                      }),
               Error);
  EXPECT_EQ(nccl.seen(0).aborts, 1);
}

TEST(NcclCommunicator, LeavesAfterAllWentWell) {
  FakeNccl nccl;
  run_on(nccl, 2, {}, [](NcclCommunicator& group) {
    at::Tensor sum = at::ones({1}, at::kInt);
    group.all_reduce("test.sum", sum);
  });
  for (const int rank : {0, 1}) {
    EXPECT_EQ(nccl.seen(rank).leaves, 1);
    EXPECT_EQ(nccl.seen(rank).aborts, 0);
  }
}

TEST(NcclCommunicator, RefusesALibraryThatItsHeaderDoesNotDescribe) {
  FakeNccl nccl({.versions = {22809, 22703}});
  const std::string message = message_of([&] { run_on(nccl, 2, {}, [](NcclCommunicator&) {}); });
  EXPECT_THAT(message, AllOf(HasSubstr("built with NCCL 2.28.9"), HasSubstr("loaded NCCL 2.27.3")));

  FakeNccl patched({.versions = {22809, 22807}});
  run_on(patched, 2, {}, [](NcclCommunicator& group) { group.barrier("test.barrier"); });
}

TEST(NcclCommunicator, GivesUpConnectingAfterTheDeadline) {
  FakeNccl nccl({.never_joins = true});
  const std::string message =
      message_of([&] { run_on(nccl, 3, {.deadline_seconds = 0.2}, [](NcclCommunicator&) {}); });
  EXPECT_THAT(message, AllOf(HasSubstr("waited 0.2 s in 'nccl.join'"), HasSubstr("of 3")));
  EXPECT_EQ(nccl.seen(0).aborts, 1);
}

TEST(NcclCommunicator, GivesNothingToTheGpuBeforeAllRanksHaveCome) {
  FakeNccl nccl;
  const std::string message = message_of([&] {
    run_on(nccl, 3, {.deadline_seconds = 0.3}, [](NcclCommunicator& group) {
      if (group.rank() == 1) {
        EXPECT_THROW(while (true) group.poll("test.poll"), PeerFailure);
        return;
      }
      group.all_gather("test.late", some_rows(1), {1, 1, 1});
    });
  });
  EXPECT_THAT(message, AllOf(HasSubstr("'test.late' (collective 1)"), HasSubstr("waited 0.3 s"),
                             HasSubstr("rank 1")));
  for (const int rank : {0, 1, 2}) {
    EXPECT_EQ(nccl.seen(rank).groups, 0);
    EXPECT_EQ(nccl.seen(rank).aborts, 1);
  }
}

TEST(NcclCommunicator, EndsATransferThatIsStuckAfterTheDeadline) {
  FakeNccl nccl({.never_moves_from_group = 1});
  std::atomic<int> refused{0};
  const std::string message = message_of([&] {
    run_on(nccl, 2, {.deadline_seconds = 0.3}, [&](NcclCommunicator& group) {
      at::Tensor sum = at::ones({3}, at::kFloat);
      group.all_reduce("test.first", sum);
      const Timer timer;
      try {
        group.all_reduce("test.stuck", sum);
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_LT(timer.seconds(), 20);
        // The communicator is of no use any more, whoever asks.
        EXPECT_THAT(message_of([&] { group.barrier("test.after"); }),
                    AllOf(HasSubstr("'test.after' (collective 3)"),
                          HasSubstr("'test.stuck' (collective 2)")));
        ++refused;
        throw;
      }
    });
  });
  EXPECT_THAT(message,
              AllOf(HasSubstr("waited 0.3 s in 'test.stuck' (collective 2)"), HasSubstr("NCCL")));
  EXPECT_EQ(refused, 2);
  for (const int rank : {0, 1}) {
    EXPECT_EQ(nccl.seen(rank).aborts, 1);
    EXPECT_EQ(nccl.seen(rank).leaves, 0);
  }
}

TEST(NcclCommunicator, AFailureThatNcclReportsEndsAllRanks) {
  FakeNccl nccl({.never_moves_from_group = 1, .fails_in_group = 1, .failing_rank = 2});
  std::atomic<int> quoted{0};
  const std::string message = message_of([&] {
    run_on(nccl, 4, {.deadline_seconds = 60}, [&](NcclCommunicator& group) {
      group.all_gather("test.good", some_rows(1), {1, 1, 1, 1});
      try {
        group.all_gather("test.bad", some_rows(1), {1, 1, 1, 1});
        ADD_FAILURE() << "nothing was thrown";
      } catch (const PeerFailure& failure) {
        EXPECT_EQ(failure.failed_rank(), 2);
        EXPECT_THAT(failure.what(), HasSubstr("unhandled system error"));
        ++quoted;
        throw;
      }
    });
  });
  EXPECT_THAT(message, AllOf(HasSubstr("rank 2 of 4"), HasSubstr("'test.bad' (collective 2)"),
                             HasSubstr("unhandled system error")));
  EXPECT_EQ(quoted, 3);
  for (const int rank : {0, 1, 2, 3}) EXPECT_EQ(nccl.seen(rank).aborts, 1);
}

TEST(NcclCommunicator, ARankThatThrowsAbortsWithoutWaitingForTheOthers) {
  FakeNccl nccl;
  const Timer timer;
  EXPECT_THROW(run_on(nccl, 3, {.deadline_seconds = 60},
                      [](NcclCommunicator& group) {
                        group.barrier("test.start");
                        if (group.rank() == 1) throw std::out_of_range("row 7");
                        group.all_gather("test.never", some_rows(1), {1, 1, 1});
                      }),
               std::out_of_range);
  EXPECT_LT(timer.seconds(), 20);
  for (const int rank : {0, 1, 2}) EXPECT_EQ(nccl.seen(rank).aborts, 1);
}

TEST(NcclCommunicator, DisagreementsAreFoundWithoutTheCheckedMode) {
  FakeNccl nccl;
  const std::string message = message_of([&] {
    run_on(nccl, 3, {.deadline_seconds = 60}, [](NcclCommunicator& group) {
      at::Tensor values = at::zeros({3}, group.rank() == 1 ? at::kInt : at::kFloat);
      group.all_reduce("test.same", values);
    });
  });
  EXPECT_THAT(message, AllOf(HasSubstr("the ranks disagree"), HasSubstr("Float"), HasSubstr("Int"),
                             HasSubstr("'test.same' (collective 1)")));
  EXPECT_EQ(nccl.seen(0).groups, 0);
}

}  // namespace
}  // namespace micrec
