#include "cluster/self_communicator.h"

#include <gtest/gtest.h>

#include "contract.h"

namespace micrec {
namespace {

class SelfContract : public testing::TestWithParam<ContractTest> {};

TEST_P(SelfContract, Holds) {
  GetParam().check(
      [](const CommunicatorOptions& options, const std::function<void(Communicator&)>& body) {
        SelfCommunicator group(options);
        try {
          body(group);
        } catch (const std::exception&) {
          // What it was is for the body to check.
        }
      });
}

INSTANTIATE_TEST_SUITE_P(Alone, SelfContract, testing::ValuesIn(contract_tests()),
                         [](const auto& info) { return info.param.name; });

TEST(SelfCommunicator, SplitsIntoItself) {
  SelfCommunicator group;
  const auto part = group.split("test.part", -3);
  EXPECT_EQ(part->rank(), 0);
  EXPECT_EQ(part->size(), 1);
  EXPECT_EQ(gather_counts(*part, "test.members", 4), std::vector<std::int64_t>{4});
}

}  // namespace
}  // namespace micrec
