#include "partition/ownership.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/random.h"

namespace micrec {
namespace {

struct World {
  NodeSpace space;
  People people;
  std::vector<std::int32_t> degree;
};

// Domains of different sizes; the user numbered n in a domain is person n, so small numbers are
// people of every domain. Degrees are skewed: node n of a domain has about 200 / (n + 1).
World make_world(int domains) {
  std::vector<std::int64_t> users;
  std::vector<std::int64_t> items;
  for (int domain = 0; domain < domains; ++domain) {
    users.push_back(50 + 30 * domain);
    items.push_back(120 - 50 * domain);
  }
  NodeSpace space(users, items);
  People people{users.back(), {}};
  std::vector<std::int32_t> degree;
  for (std::int32_t node = 0; node < space.nodes(); ++node) {
    const auto number = static_cast<std::int32_t>(space.number_in_domain(GlobalNode(node)));
    if (node < space.users()) people.person.push_back(number);
    degree.push_back(200 / (number + 1));
  }
  return {space, people, degree};
}

void expect_people_together(const World& world, const Ownership& ownership) {
  ASSERT_EQ(static_cast<std::int64_t>(ownership.owner.size()), world.space.nodes());
  std::vector<std::int32_t> rank_of_person(static_cast<std::size_t>(world.people.count), -1);
  for (std::int64_t node = 0; node < world.space.nodes(); ++node) {
    ASSERT_GE(ownership.owner[node], 0);
    ASSERT_LT(ownership.owner[node], ownership.ranks);
    if (node >= world.space.users()) continue;
    std::int32_t& rank = rank_of_person[world.people.person[node]];
    if (rank < 0) rank = ownership.owner[node];
    EXPECT_EQ(ownership.owner[node], rank) << "person " << world.people.person[node];
  }
}

TEST(Ownership, KeepsThePeopleOfSeveralDomainsTogether) {
  for (int domains = 1; domains <= 3; ++domains) {
    const World world = make_world(domains);
    for (const int ranks : {1, 2, 3, 4, 5, 7, 8, 64, 1000}) {
      expect_people_together(world, assign_by_hash(world.space, world.people, ranks));
      expect_people_together(world,
                             assign_balanced(world.space, world.people, world.degree, ranks));
    }
  }
}

TEST(Ownership, NodesOfAllRanksAreAllNodesOnceInRisingOrder) {
  const World world = make_world(2);
  const Ownership ownership = assign_by_hash(world.space, world.people, 1000);
  std::vector<int> seen(static_cast<std::size_t>(world.space.nodes()));
  int empty_ranks = 0;
  for (int rank = 0; rank < ownership.ranks; ++rank) {
    const std::vector<GlobalNode> nodes = ownership.nodes_of(rank);
    EXPECT_TRUE(std::is_sorted(nodes.begin(), nodes.end()));
    for (const GlobalNode node : nodes) ++seen[value(node)];
    empty_ranks += nodes.empty();
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), world.space.nodes());
  EXPECT_GT(empty_ranks, 0) << "more ranks than nodes must leave ranks empty";
}

TEST(Ownership, HashSpreadsRowsEvenly) {
  const NodeSpace space({40'000}, {20'000});
  People people{40'000, std::vector<std::int32_t>(40'000)};
  std::iota(people.person.begin(), people.person.end(), 0);
  for (const int ranks : {2, 3, 8, 13}) {
    const Ownership ownership = assign_by_hash(space, people, ranks);
    for (const RankLoad& load : loads_of(space, ownership, std::vector<std::int32_t>(60'000, 1))) {
      EXPECT_NEAR(static_cast<double>(load.users) * ranks, 40'000, 3'000);
      EXPECT_NEAR(static_cast<double>(load.items) * ranks, 20'000, 3'000);
      EXPECT_EQ(load.nonzeros, load.users + load.items);
    }
  }
}

TEST(Ownership, HashOfANodeDoesNotDependOnTheOtherNodes) {
  const World small = make_world(1);
  NodeSpace larger({50}, {500});
  const Ownership few = assign_by_hash(small.space, small.people, 5);
  const Ownership many = assign_by_hash(larger, small.people, 5);
  EXPECT_TRUE(std::equal(few.owner.begin(), few.owner.end(), many.owner.begin()));
}

TEST(Ownership, BalancedLevelsSkewedWork) {
  // 100,000 items whose degrees fall like 1 / rank: by hash the rank with the head has far more.
  const NodeSpace space({1}, {100'000});
  const People people{1, {0}};
  std::vector<std::int32_t> degree = {0};
  for (int item = 1; item <= 100'000; ++item) degree.push_back(100'000 / item);
  for (const int ranks : {2, 3, 4, 5, 8}) {
    const Ownership ownership = assign_balanced(space, people, degree, ranks);
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    std::int64_t most = 0;
    for (const RankLoad& load : loads_of(space, ownership, degree)) {
      const std::int64_t work = load.nonzeros + 4 * (load.users + load.items);
      least = std::min(least, work);
      most = std::max(most, work);
    }
    EXPECT_LE(most - least, 5) << ranks << " ranks";  // one lightest unit
  }
}

TEST(Ownership, BalancedIsTheSameEveryTimeOnMillionsOfNodes) {
  const NodeSpace space({1'000'000}, {1'000'000});
  People people{1'000'000, std::vector<std::int32_t>(1'000'000)};
  std::iota(people.person.begin(), people.person.end(), 0);
  std::vector<std::int32_t> degree;
  const Random random(7, Purpose::synthetic);
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    degree.push_back(static_cast<std::int32_t>(random.index(50, static_cast<std::uint64_t>(node))));
  }
  const Ownership once = assign_balanced(space, people, degree, 61);
  const Ownership again = assign_balanced(space, people, degree, 61);
  EXPECT_EQ(once.owner, again.owner);
}

TEST(Ownership, ARankMayOwnNothing) {
  const NodeSpace space({2}, {1});
  const People people{1, {0, 0}};  // one person twice: both nodes must share a rank
  const Ownership ownership = assign_balanced(space, people, {5, 5, 1}, 4);
  EXPECT_EQ(ownership.nodes_of(0).size(), 2u);
  EXPECT_EQ(ownership.nodes_of(1).size(), 1u);
  EXPECT_TRUE(ownership.nodes_of(2).empty());
  EXPECT_TRUE(ownership.nodes_of(3).empty());
  const std::vector<RankLoad> loads = loads_of(space, ownership, {5, 5, 1});
  EXPECT_EQ(loads[0].users, 2);
  EXPECT_EQ(loads[0].nonzeros, 10);
  EXPECT_EQ(loads[1].items, 1);
  EXPECT_EQ(loads[3].users + loads[3].items + loads[3].nonzeros, 0);
}

}  // namespace
}  // namespace micrec
