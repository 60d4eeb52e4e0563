#include "partition/node_space.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(NodeSpace, NumbersUsersOfAllDomainsBeforeItems) {
  const NodeSpace space({3, 2}, {4, 1});
  EXPECT_EQ(space.domains(), 2);
  EXPECT_EQ(space.users(), 5);
  EXPECT_EQ(space.nodes(), 10);
  EXPECT_EQ(value(space.user(0, 0)), 0);
  EXPECT_EQ(value(space.user(1, 1)), 4);
  EXPECT_EQ(value(space.item(0, 0)), 5);
  EXPECT_EQ(value(space.item(1, 0)), 9);
  EXPECT_EQ(space.users_of(1).begin, 3);
  EXPECT_EQ(space.items_of(0).size(), 4);
}

TEST(NodeSpace, FindsDomainAndNumberOfEveryNodeAlsoPastEmptyDomains) {
  const NodeSpace space({0, 3, 0, 2}, {2, 0, 0, 4});
  for (int domain = 0; domain < space.domains(); ++domain) {
    for (std::int64_t number = 0; number < space.users_of(domain).size(); ++number) {
      const GlobalNode user = space.user(domain, number);
      EXPECT_TRUE(space.is_user(user));
      EXPECT_EQ(space.domain_of(user), domain);
      EXPECT_EQ(space.number_in_domain(user), number);
    }
    for (std::int64_t number = 0; number < space.items_of(domain).size(); ++number) {
      const GlobalNode item = space.item(domain, number);
      EXPECT_FALSE(space.is_user(item));
      EXPECT_EQ(space.domain_of(item), domain);
      EXPECT_EQ(space.number_in_domain(item), number);
    }
  }
}

TEST(NodeSpace, RefusesMoreNodesThanAnIdCanNumber) {
  EXPECT_EQ(NodeSpace({2'147'483'646}, {1}).nodes(), 2'147'483'647);
  expect_error(Cause::data, {"2,147,483,648"}, [] { NodeSpace({2'147'483'646}, {2}); });
}

}  // namespace
}  // namespace micrec
