#include "cluster/thread_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "contract.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

class ThreadContract : public testing::TestWithParam<std::tuple<ContractTest, int, bool>> {};

TEST_P(ThreadContract, Holds) {
  const auto& [test, ranks, in_part] = GetParam();
  test.check([ranks = ranks, in_part = in_part](const CommunicatorOptions& options,
                                                const std::function<void(Communicator&)>& body) {
    std::atomic<int> bodies{0};
    const auto counted = [&](Communicator& group) {
      ++bodies;
      EXPECT_EQ(group.size(), ranks);
      body(group);
    };
    try {
      run_ranks(
          in_part ? ranks + kRanksBesideAPart : ranks,
          [&](Communicator& group) {
            in_part ? run_in_part(group, ranks, counted) : counted(group);
          },
          options);
    } catch (const std::exception&) {
      // What it was is for the body to check.
    }
    EXPECT_EQ(bodies, ranks);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadContract,
                         testing::Combine(testing::ValuesIn(contract_tests()),
                                          testing::Values(1, 2, 3, 4, 5, 8), testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_at_" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_in_part" : "");
                         });

TEST(RunRanks, ThrowsTheCauseAndNotWhatFollowedFromIt) {
  for (int failing = 0; failing < 4; ++failing) {
    try {
      run_ranks(4, [&](Communicator& group) {
        if (group.rank() == failing) throw std::out_of_range("row 7");
        group.barrier("test.never");
      });
      FAIL() << "nothing was thrown";
    } catch (const std::out_of_range& error) {
      EXPECT_STREQ(error.what(), "row 7");
    }
  }
}

TEST(RunRanks, ARankThatEndsEarlyIsMissedAtOnce) {
  expect_error(Cause::cluster,
               {"'test.second' (collective 2)", "rank 1, which has ended after 'test.first'"}, [] {
                 run_ranks(3, [](Communicator& group) {
                   group.barrier("test.first");
                   if (group.rank() != 1) group.barrier("test.second");
                 });
               });
}

TEST(RunRanks, DifferentNamesAreFoundWithoutTheCheckedMode) {
  expect_error(Cause::cluster, {"'test.right' (collective 1)", "'test.astray' (collective 1)"}, [] {
    run_ranks(3, [](Communicator& group) {
      group.barrier(group.rank() == 2 ? "test.astray" : "test.right");
    });
  });
}

TEST(RunRanks, NamesRanksOfAPartByTheirNumberInTheRun) {
  expect_error(Cause::cluster,
               {"rank 1 of 4", "'test.late' (collective 1) of 'test.odd'",
                "rank 3, which has ended after 'test.odd'"},
               [] {
                 run_ranks(4, [](Communicator& group) {
                   const auto part = group.split("test.odd", group.rank() % 2);
                   if (group.rank() == 1) part->barrier("test.late");
                 });
               });
}

}  // namespace
}  // namespace micrec
