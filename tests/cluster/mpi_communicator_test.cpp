#include "cluster/mpi_communicator.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <exception>
#include <memory>

#include "contract.h"

namespace micrec {
namespace {

// Brings the processes together after a test whose own communicator has failed on purpose.
std::unique_ptr<MpiCommunicator> g_between_tests;

enum class Form { whole, in_pieces, in_part };

class MpiContract : public testing::TestWithParam<std::tuple<ContractTest, Form>> {};

TEST_P(MpiContract, Holds) {
  const auto& [test, form] = GetParam();
  const bool in_part = form == Form::in_part;
  const int ranks = g_between_tests->size() - (in_part ? kRanksBesideAPart : 0);
  if (ranks < 1) GTEST_SKIP() << "needs more ranks to take a part of";
  const std::int64_t most = form == Form::in_pieces ? 1000 : MpiCommunicator::kMostMessageBytes;
  test.check(
      [=](const CommunicatorOptions& options, const std::function<void(Communicator&)>& body) {
        const std::unique_ptr<MpiCommunicator> group = MpiCommunicator::world(options, most);
        bool failed = false;
        try {
          in_part ? run_in_part(*group, ranks, body) : body(*group);
        } catch (const std::exception& exception) {
          failed = true;
          group->abort(exception.what());
        }
        // All ranks are done with the group before one destroys it, and if one has failed then all
        // do so without MPI's collective clean-up.
        if (on_any_rank(*g_between_tests, "test.failed", failed)) group->abort("the test is over");
        g_between_tests->barrier("test.over");
      });
}

INSTANTIATE_TEST_SUITE_P(Messages, MpiContract,
                         testing::Combine(testing::ValuesIn(contract_tests()),
                                          testing::Values(Form::whole, Form::in_pieces,
                                                          Form::in_part)),
                         [](const auto& info) {
                           const Form form = std::get<1>(info.param);
                           return std::get<0>(info.param).name + (form == Form::whole ? "_whole"
                                                                  : form == Form::in_pieces
                                                                      ? "_in_pieces"
                                                                      : "_in_part");
                         });

TEST(MpiCommunicator, CollectsTheFailuresOfAllRanks) {
  const std::unique_ptr<MpiCommunicator> group = MpiCommunicator::world({.deadline_seconds = 60});
  RankFailure own;
  own.rank = group->rank();
  own.exit_code = 40 + group->rank();
  own.standing = RankFailure::Standing::symptom;
  own.message = std::string(2000, static_cast<char>('a' + group->rank()));
  group->announce(own);
  const RankFailures failures = group->collect_failures(60);
  ASSERT_EQ(static_cast<int>(failures.size()), group->size());
  for (int q = 0; q < group->size(); ++q) {
    EXPECT_EQ(failures.at(q).rank, q);
    EXPECT_EQ(failures.at(q).exit_code, 40 + q);
    EXPECT_EQ(failures.at(q).standing, RankFailure::Standing::symptom);
    EXPECT_EQ(failures.at(q).message, std::string(2000, static_cast<char>('a' + q)));
  }
  g_between_tests->barrier("test.over");
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  micrec::MpiSession session;
  testing::InitGoogleTest(&argc, argv);
  micrec::print_only_failures_of(session.rank());
  micrec::g_between_tests = micrec::MpiCommunicator::world({.deadline_seconds = 100});
  const int failed = RUN_ALL_TESTS();
  micrec::g_between_tests.reset();
  session.finish();
  return failed;
}
