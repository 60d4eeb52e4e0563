// NcclCommunicator itself over an NCCL made of threads: runs without a GPU.
#include "cluster/nccl_communicator.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <exception>
#include <tuple>

#include "base/timer.h"
#include "cluster/health/progress_board.h"
#include "cluster/thread_communicator.h"
#include "fake_nccl.h"
#include "tests/cluster/contract.h"
#include "tests/support/expect_error.h"
#include "through_gpu.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Body = std::function<void(NcclCommunicator& group)>;

void run_on(FakeNccl& nccl, int ranks, const CommunicatorOptions& options, const Body& body,
            c10::Device device = c10::Device(c10::kCPU), ProgressBoard* board = nullptr) {
  const NcclId id = nccl.make_id();  // not by a collective, so that a body's first one is number 1
  std::barrier<> joined(ranks);      // nor this: a body that fails must not end others' joining
  run_ranks(
      ranks,
      [&](Communicator& world) {
        auto& host = dynamic_cast<HostCommunicator&>(world);
        std::unique_ptr<ProgressBoard> own;
        if (board != nullptr) {
          own = ProgressBoard::open(board->name());
          own->take_line(host.rank(), host.rank());
          host.show_progress_on(own.get());
        }
        NcclCommunicator group(host, device, nccl.link(host.rank(), device), id, options);
        joined.arrive_and_wait();
        body(group);
      },
      options);
}

std::string cluster_error_of(const std::function<void()>& call) {
  return refusal_of(Cause::cluster, call);
}

at::Tensor some_rows(std::int64_t rows) { return at::arange(2 * rows, at::kFloat).view({rows, 2}); }

// What a rank reads of a result once its current stream is done.
at::Tensor read(FakeNccl& nccl, NcclCommunicator& group, const at::Tensor& result) {
  nccl.synchronize(group.rank_in_run(group.rank()));
  return result;
}

// As many rows to every rank as from it, into a tensor of their own.
std::unique_ptr<PendingTensor> start_all_to_all(NcclCommunicator& group, const char* name,
                                                const at::Tensor& send,
                                                const std::vector<std::int64_t>& rows) {
  return group.start_all_to_all_into(name, send, rows, rows, at::empty_like(send),
                                     Runs::consecutive(rows).first);
}

class NcclContract : public testing::TestWithParam<std::tuple<ContractTest, int, bool>> {};

TEST_P(NcclContract, Holds) {
  const auto& [test, ranks, in_part] = GetParam();
  test.check([&test = test, ranks = ranks, in_part = in_part](
                 const CommunicatorOptions& options,
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
               const int rank = group.rank();
               ThroughGpu through(group, {[](const at::Tensor& tensor) { return tensor.clone(); },
                                          [&nccl, rank](const at::Tensor& result) {
                                            nccl.synchronize(rank);
                                            return result;
                                          }});
               in_part ? run_in_part(through, ranks, counted) : counted(through);
             });
    } catch (const std::exception& exception) {
      EXPECT_TRUE(test.is_of_failure) << exception.what();
    }
    EXPECT_EQ(bodies, ranks);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclContract,
                         testing::Combine(testing::ValuesIn(contract_tests_of_gpus()),
                                          testing::Values(1, 2, 3, 4, 5, 8), testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_at_" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_in_part" : "");
                         });

TEST(FakeNccl, RefusesEveryCallBeforeTheRanksHaveJoined) {
  FakeNccl nccl;
  const std::unique_ptr<NcclLink> link = nccl.link(0);
  const at::Tensor rows = some_rows(1);
  auto* const data = static_cast<std::byte*>(rows.mutable_data_ptr());
  EXPECT_THAT(cluster_error_of([&] { link->progress(); }), HasSubstr("ncclCommGetAsyncError"));
  link->follow_current_stream();
  link->keep(rows);
  EXPECT_THAT(cluster_error_of([&] { link->exchange({{data, 8, 1}}, {}); }), HasSubstr("refused"));
  EXPECT_THAT(cluster_error_of([&] { link->broadcast(data, 8, 0); }), HasSubstr("refused"));
  EXPECT_EQ(nccl.seen(0).work(), 0);
}

TEST(FakeNccl, ShowsWhatMovedOnlyBehindTheCurrentStream) {
  FakeNccl nccl;
  const NcclId id = nccl.make_id();
  run_ranks(2, [&](Communicator& host) {
    const std::unique_ptr<NcclLink> link = nccl.link(host.rank());
    link->begin_join(id, host.rank(), 2);
    const auto is_ready = [&] { return link->progress().state == NcclLink::State::ready; };
    while (!is_ready()) host.poll("test.join");
    at::Tensor value = at::full({1}, host.rank() + 1, at::kFloat);
    link->keep(value);
    link->follow_current_stream();
    link->all_reduce(at::kFloat, Reduction::sum, static_cast<std::byte*>(value.mutable_data_ptr()),
                     1);
    while (!is_ready()) host.poll("test.begin");
    const auto mark = link->mark();
    nccl.synchronize(host.rank());  // of a stream that waits for nothing
    EXPECT_EQ(value.item<float>(), static_cast<float>(host.rank() + 1));
    host.barrier("test.looked");
    mark->lead_current_stream();
    nccl.synchronize(host.rank());
    EXPECT_EQ(value.item<float>(), 3);
    host.barrier("test.over");
    link->leave(1);
  });
}

TEST(NcclCommunicator, ARankAloneTouchesNeitherNcclNorItsLink) {
  FakeNccl nccl;
  run_on(nccl, 1, {.check_collectives = true}, [](NcclCommunicator& group) {
    const at::Tensor rows = some_rows(3);
    EXPECT_TRUE(at::equal(group.all_gather("test.gather", rows, {3}), rows));
    EXPECT_TRUE(at::equal(group.all_to_all("test.exchange", rows, {3}, {3}), rows));
    const at::Tensor into = at::zeros({5, 2}, at::kFloat);
    const auto pending = group.start_all_to_all_into("test.into", rows, {3}, {3}, into, {2});
    for (int i = 0; i < 100; ++i) group.poll("test.poll");
    EXPECT_TRUE(at::equal(pending->wait().narrow(0, 2, 3), rows));
    at::Tensor values = rows.clone();
    group.all_reduce("test.sum", values);
    group.broadcast("test.broadcast", values, 0);
    EXPECT_TRUE(at::equal(values, rows));
    const auto part = group.split("test.part", 7);
    EXPECT_TRUE(at::equal(part->all_gather("test.gather", rows, {3}), rows));
    EXPECT_EQ(group.ledger().snapshot().at("test.gather").calls, 2);
    EXPECT_EQ(group.ledger().snapshot().at("test.gather").bytes_sent, 0);
  });
  EXPECT_EQ(nccl.seen(0).calls, 0);
  EXPECT_EQ(nccl.seen(0).leaves + nccl.seen(0).aborts, 0);
}

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
  EXPECT_EQ(nccl.seen(0).work(), 0);
}

TEST(NcclCommunicator, EqualSharesMoveByNcclsOwnCollectives) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [&](NcclCommunicator& group) {
    group.all_gather("test.gather", some_rows(2), {2, 2, 2});
    at::Tensor values = some_rows(5);
    group.all_reduce("test.sum", values);
    at::Tensor numbers = at::arange(4, at::kLong);
    group.all_reduce("test.max", numbers, Reduction::max);
    group.broadcast("test.broadcast", values, 2);
    group.settle();
    const LedgerEntries moved = group.ledger().snapshot();
    EXPECT_EQ(moved.at("test.gather").bytes_sent, 2 * 2 * 8);
    EXPECT_EQ(moved.at("test.sum").bytes_sent, 2 * 5 * 8 * 2 / 3);
    EXPECT_EQ(moved.at("test.broadcast").bytes_received, group.rank() == 2 ? 0 : 5 * 8);
    EXPECT_GT(moved.at("test.sum").hidden_seconds, 0);
  });
  const FakeNccl::Seen seen = nccl.seen(1);
  EXPECT_EQ(seen.groups, 0);
  EXPECT_EQ(seen.all_gathers, 1);
  EXPECT_EQ(seen.all_reduces, 2);
  EXPECT_EQ(seen.broadcasts, 1);
}

TEST(NcclCommunicator, NearlyEqualSharesArePaddedAndOthersAreNot) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [&](NcclCommunicator& group) {
    const std::vector<std::int64_t> nearly = {10, 10, 9};  // 30 rows move for 29
    const std::vector<std::int64_t> far = {10, 10, 7};     // it would be 30 for 27
    for (const auto& [name, rows, padded] :
         {std::tuple("test.nearly", nearly, true), std::tuple("test.far", far, false)}) {
      const std::int64_t own = rows[static_cast<std::size_t>(group.rank())];
      const std::int64_t all_rows = rows[0] + rows[1] + rows[2];
      const at::Tensor local = at::full({own, 2}, group.rank() + 1, at::kFloat);
      const at::Tensor all = read(nccl, group, group.all_gather(name, local, rows));
      EXPECT_TRUE(at::equal(all, at::cat({at::full({rows[0], 2}, 1, at::kFloat),
                                          at::full({rows[1], 2}, 2, at::kFloat),
                                          at::full({rows[2], 2}, 3, at::kFloat)})));
      const LedgerEntry moved = group.ledger().snapshot().at(name);
      EXPECT_EQ(moved.bytes_sent, 2 * 8 * (padded ? 10 : own));
      EXPECT_EQ(moved.bytes_received, 8 * (padded ? 2 * 10 : all_rows - own));
    }
  });
  EXPECT_EQ(nccl.seen(0).all_gathers, 1);
  EXPECT_EQ(nccl.seen(0).groups, 1);
}

TEST(NcclCommunicator, AReproducibleSumIsNotLeftToNccl) {
  FakeNccl nccl;
  run_on(nccl, 3, {.reproducible = true}, [&](NcclCommunicator& group) {
    // In rank order the first is lost in the second; the last two first would cancel each other.
    const std::array<float, 3> values = {1e-3F, 1e9F, -1e9F};
    at::Tensor value = at::full({3}, values.at(static_cast<std::size_t>(group.rank())), at::kFloat);
    group.all_reduce("test.sum", value);
    read(nccl, group, value);
    EXPECT_EQ(value[0].item<float>(), (1e-3F + 1e9F) - 1e9F);
  });
  EXPECT_EQ(nccl.seen(0).all_reduces, 0);
}

TEST(NcclCommunicator, MovesOnlyWhatRanksHaveForEachOther) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [&](NcclCommunicator& group) {
    // Rank 0 has three rows for rank 2, and a row for itself.
    const bool sends = group.rank() == 0;
    const bool receives = group.rank() == 2;
    const at::Tensor received = read(
        nccl, group,
        group.all_to_all("test.rows", some_rows(sends ? 4 : 0), {sends ? 1 : 0, 0, sends ? 3 : 0},
                         {sends      ? 1
                          : receives ? 3
                                     : 0,
                          0, 0}));
    const at::Tensor expected = receives ? some_rows(4).slice(0, 1, 4) : some_rows(sends ? 1 : 0);
    EXPECT_TRUE(at::equal(received, expected)) << group.rank();
  });
  EXPECT_EQ(nccl.seen(0).bytes_sent, 3 * 2 * 4);
  EXPECT_EQ(nccl.seen(1).bytes_sent, 0);
  EXPECT_EQ(nccl.seen(2).bytes_sent, 0);
}

TEST(NcclCommunicator, HasSeveralTransfersInFlight) {
  FakeNccl nccl;
  run_on(nccl, 3, {}, [&](NcclCommunicator& group) {
    const std::vector<std::int64_t> one_each = {1, 1, 1};
    const at::Tensor own = at::full({3, 2}, group.rank(), at::kFloat);
    const at::Tensor full = at::add(at::arange(6, at::kFloat).view({3, 2}), 10 * group.rank());
    const auto shown = start_all_to_all(group, "test.show", own, one_each);
    const auto exchanged = start_all_to_all(group, "test.exchange", full, one_each);
    at::Tensor sum = at::full({1}, 2, at::kInt);
    group.all_reduce("test.between", sum);
    EXPECT_EQ(read(nccl, group, sum).item<int>(), 6);
    const at::Tensor all = read(nccl, group, shown->wait());
    const at::Tensor received = read(nccl, group, exchanged->wait());
    for (int q = 0; q < 3; ++q) {
      EXPECT_EQ(all[q][1].item<float>(), q);
      EXPECT_EQ(received[q][0].item<float>(), 10 * q + 2 * group.rank());
    }
    group.settle();
    const LedgerEntries entries = group.ledger().snapshot();
    const LedgerEntry& entry = entries.at("test.show");
    EXPECT_EQ(entry.calls, 1);
    EXPECT_EQ(entry.bytes_sent, 2 * 8);
    EXPECT_EQ(entry.bytes_received, 2 * 8);
    EXPECT_GT(entry.hidden_seconds, 0);
  });
  EXPECT_EQ(nccl.seen(0).leaves, 1);
}

TEST(NcclCommunicator, GoesOnWhileTheOthersHaveNotCome) {
  FakeNccl nccl;
  std::atomic<bool> went_on = false;
  run_on(nccl, 2, {}, [&](NcclCommunicator& group) {
    at::Tensor sum = at::ones({3}, at::kFloat);
    if (group.rank() == 1) {
      while (!went_on) group.poll("test.poll");
    }
    for (int turn = 0; turn < 3; ++turn) group.all_reduce("test.sum", sum);
    went_on = true;
    EXPECT_EQ(read(nccl, group, sum)[0].item<float>(), 8);
  });
}

TEST(NcclCommunicator, ATransferThatNobodyWaitsForIsAFailure) {
  FakeNccl nccl;
  EXPECT_THROW(run_on(nccl, 2, {.deadline_seconds = 60},
                      [](NcclCommunicator& group) {
                        start_all_to_all(group, "test.lost", some_rows(2), {1, 1}).reset();
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

TEST(NcclCommunicator, TakesALibraryThatIsNotOlderThanItsHeader) {
  for (const int library : {22809, 22811, 23004}) {
    FakeNccl nccl({.versions = {22809, library}});
    run_on(nccl, 2, {}, [](NcclCommunicator& group) { group.barrier("test.barrier"); });
  }
}

TEST(NcclCommunicator, RefusesALibraryThatItsHeaderDoesNotDescribe) {
  for (const auto& [library, name] :
       {std::pair(22703, "2.27.3"), std::pair(22807, "2.28.7"), std::pair(30001, "3.0.1")}) {
    FakeNccl nccl({.versions = {22809, library}});
    const std::string message =
        cluster_error_of([&] { run_on(nccl, 2, {}, [](NcclCommunicator&) {}); });
    EXPECT_THAT(message, AllOf(HasSubstr("built with NCCL 2.28.9 and has loaded NCCL "),
                               HasSubstr(name), HasSubstr("same major version")));
    EXPECT_EQ(nccl.seen(0).work(), 0);
  }
}

TEST(NcclCommunicator, GivesUpConnectingAfterItsOwnDeadline) {
  FakeNccl nccl({.never_joins = true});
  const std::string message = cluster_error_of(
      [&] { run_on(nccl, 3, {.connect_seconds = 0.2}, [](NcclCommunicator&) {}); });
  EXPECT_THAT(message, AllOf(HasSubstr("waited 0.2 s in 'nccl.join'"), HasSubstr("of 3")));
  EXPECT_EQ(nccl.seen(0).aborts, 1);
}

TEST(NcclCommunicator, NamesTheRankThatDoesNotCome) {
  FakeNccl nccl;
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 3, {.deadline_seconds = 0.3}, [&](NcclCommunicator& group) {
      if (group.rank() == 1) {
        EXPECT_THROW(while (true) group.poll("test.poll"), PeerFailure);
        return;
      }
      // The host runs ahead; the first that hangs is named.
      const at::Tensor all = group.all_gather("test.late", some_rows(1), {1, 1, 1});
      at::Tensor sum = at::ones({3}, at::kFloat);
      group.all_reduce("test.ahead", sum);
      read(nccl, group, all);
      while (true) group.poll("test.poll");
    });
  });
  EXPECT_THAT(message, AllOf(HasSubstr("waited 0.3 s in 'test.late' (collective 1)"),
                             HasSubstr("for rank 1, last seen in no collective")));
  for (const int rank : {0, 1, 2}) EXPECT_EQ(nccl.seen(rank).aborts, 1);
}

TEST(NcclCommunicator, ShowsOnTheBoardWhereItsGpuWaits) {
  FakeNccl nccl;
  const std::unique_ptr<ProgressBoard> board = ProgressBoard::create(2);
  std::string sentence;
  RankProgress waits;
  EXPECT_THROW(run_on(
                   nccl, 2, {.deadline_seconds = 0.5},
                   [&](NcclCommunicator& group) {
                     group.barrier("test.start");
                     if (group.rank() == 1) {
                       while (true) group.poll("test.poll");
                     }
                     at::Tensor sum = at::ones({3}, at::kFloat);
                     group.all_reduce("test.first", sum);
                     group.all_reduce("test.second", sum);
                     read(nccl, group, sum);
                     try {
                       group.barrier("test.after");
                     } catch (const DeadlinePassed& error) {
                       EXPECT_THAT(error.what(), HasSubstr("in 'test.first' (collective 2)"));
                       waits = board->read(0);
                       if (const auto suspect = find_suspect(*board, 2))
                         sentence = suspect->sentence;
                       throw;
                     }
                   },
                   c10::Device(c10::kCPU), board.get()),
               DeadlinePassed);
  board->remove_name();
  EXPECT_EQ(waits.state, RankProgress::State::waiting);
  EXPECT_EQ(waits.collective, "test.first");
  EXPECT_THAT(sentence, AllOf(HasSubstr("rank 1 of 2 has not reached 'test.first' (collective 2)"),
                              HasSubstr("last seen in 'test.start' (collective 1)")));
}

TEST(NcclCommunicator, EndsATransferThatIsStuckAfterTheDeadline) {
  FakeNccl nccl({.never_moves_from = 1});
  std::atomic<int> refused{0};
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 2, {.deadline_seconds = 0.3}, [&](NcclCommunicator& group) {
      at::Tensor sum = at::ones({3}, at::kFloat);
      group.all_reduce("test.first", sum);
      group.all_reduce("test.stuck", sum);
      const Timer timer;
      read(nccl, group, sum);  // comes back, with nothing of worth
      EXPECT_LT(timer.seconds(), 20);
      try {
        group.poll("test.poll");
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        // The communicator is of no use any more, whoever asks.
        EXPECT_THAT(cluster_error_of([&] { group.barrier("test.after"); }),
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

TEST(NcclCommunicator, AFailureOfOneGroupEndsAllOfTheRank) {
  FakeNccl nccl({.never_moves_from = 1});
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 2, {.deadline_seconds = 0.3}, [&](NcclCommunicator& group) {
      const auto part = group.split("test.part", 0);
      at::Tensor sum = at::ones({3}, at::kFloat);
      group.all_reduce("test.good", sum);
      part->all_reduce("test.stuck", sum);
      read(nccl, group, sum);
      group.settle();
    });
  });
  EXPECT_THAT(message, HasSubstr("'test.stuck' (collective 1) of 'test.part'"));
  EXPECT_EQ(nccl.seen(0).aborts, 2);
}

TEST(NcclCommunicator, AFailureThatNcclReportsEndsAllRanks) {
  FakeNccl nccl({.never_moves_from = 1, .fails_in = 1, .failing_rank = 2});
  std::atomic<int> quoted{0};
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 4, {.deadline_seconds = 60}, [&](NcclCommunicator& group) {
      try {
        group.all_gather("test.good", some_rows(1), {1, 1, 1, 1});
        read(nccl, group, group.all_gather("test.bad", some_rows(1), {1, 1, 1, 1}));
        group.settle();
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

TEST(NcclCommunicator, ACallThatNcclRefusesInAGroupEndsAllRanks) {
  FakeNccl nccl({.refused = 1, .failing_rank = 1});
  const std::vector<std::int64_t> uneven = {3, 1, 0};
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 3, {.deadline_seconds = 60}, [&](NcclCommunicator& group) {
      const auto own = uneven[static_cast<std::size_t>(group.rank())];
      group.all_gather("test.good", some_rows(own), uneven);
      read(nccl, group, group.all_gather("test.bad", some_rows(own), uneven));
      group.settle();
    });
  });
  EXPECT_THAT(message, HasSubstr("NCCL refused ncclSend in a group: invalid argument"));
  for (const int rank : {0, 1, 2}) EXPECT_EQ(nccl.seen(rank).aborts, 1);
}

TEST(NcclCommunicator, AGpuThatFailsEndsAllRanksAndNotTheProcess) {
  for (const bool is_in_flight : {false, true}) {
    FakeNccl nccl({.breaks_in = 1, .failing_rank = 1});
    std::atomic<int> quoted{0};
    const std::string message = cluster_error_of([&] {
      run_on(nccl, 3, {.deadline_seconds = 60}, [&](NcclCommunicator& group) {
        const std::vector<std::int64_t> one_each = {1, 1, 1};
        try {
          const auto first = start_all_to_all(group, "test.first", some_rows(3), one_each);
          if (!is_in_flight) first->wait();
          // Whatever this rank has in flight is destroyed on the way out.
          const auto second = start_all_to_all(group, "test.broken", some_rows(3), one_each);
          second->wait();
          nccl.synchronize(group.rank());
          group.settle();
          if (is_in_flight) first->wait();
          ADD_FAILURE() << "nothing was thrown";
        } catch (const PeerFailure& failure) {
          EXPECT_EQ(failure.failed_rank(), 1);
          ++quoted;
          throw;
        }
      });
    });
    EXPECT_THAT(message, HasSubstr("CUDA refused"));
    EXPECT_EQ(quoted, 2);
  }
}

TEST(NcclCommunicator, ARankThatThrowsAbortsWithoutWaitingForTheOthers) {
  FakeNccl nccl;
  const Timer timer;
  EXPECT_THROW(run_on(nccl, 3, {.deadline_seconds = 60},
                      [&](NcclCommunicator& group) {
                        group.barrier("test.start");
                        if (group.rank() == 1) throw std::out_of_range("row 7");
                        read(nccl, group, group.all_gather("test.never", some_rows(1), {1, 1, 1}));
                        group.settle();
                      }),
               std::out_of_range);
  EXPECT_LT(timer.seconds(), 20);
  for (const int rank : {0, 1, 2}) EXPECT_EQ(nccl.seen(rank).aborts, 1);
}

TEST(NcclCommunicator, DisagreementsAreFoundInTheCheckedMode) {
  FakeNccl nccl;
  const std::string message = cluster_error_of([&] {
    run_on(nccl, 3, {.deadline_seconds = 60, .check_collectives = true},
           [](NcclCommunicator& group) {
             at::Tensor values = at::zeros({3}, group.rank() == 1 ? at::kInt : at::kFloat);
             group.all_reduce("test.same", values);
           });
  });
  EXPECT_THAT(message, AllOf(HasSubstr("the ranks disagree"), HasSubstr("Float"), HasSubstr("Int"),
                             HasSubstr("'test.same' (collective 1)")));
  EXPECT_EQ(nccl.seen(0).work(), 0);
}

TEST(NcclCommunicator, TheRanksTellEachOtherNothingOutsideTheCheckedMode) {
  for (const bool is_checked : {false, true}) {
    FakeNccl nccl;
    run_on(nccl, 3, {.check_collectives = is_checked}, [&](NcclCommunicator& group) {
      at::Tensor sum = at::ones({3}, at::kFloat);
      group.all_reduce("test.sum", sum);
      const std::int64_t sent = group.ledger().snapshot().at("test.sum").bytes_sent;
      EXPECT_EQ(sent == 2 * 12 * 2 / 3, !is_checked) << sent;
    });
  }
}

}  // namespace
}  // namespace micrec
