#include "partition/halo_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/random.h"

namespace micrec {
namespace {

std::vector<GlobalNode> nodes(const std::vector<int>& numbers) {
  std::vector<GlobalNode> result;
  for (const int number : numbers) result.push_back(GlobalNode(number));
  return result;
}

// What every rank reads: a random graph with some edges repeated and some inside the rank.
std::vector<std::vector<GlobalNode>> random_needs(const Ownership& ownership, int edges_per_node) {
  const Random random(11, Purpose::synthetic);
  std::vector<std::vector<GlobalNode>> needed(static_cast<std::size_t>(ownership.ranks));
  const std::uint64_t count = ownership.owner.size();
  for (std::uint64_t node = 0; node < count; ++node) {
    for (int edge = 0; edge < edges_per_node; ++edge) {
      const std::uint64_t neighbour = random.index(count, node, static_cast<std::uint32_t>(edge));
      needed[ownership.owner[node]].push_back(GlobalNode(static_cast<std::int32_t>(neighbour)));
    }
  }
  return needed;
}

// Plays all ranks in one process: the receive lists travel to their owners.
std::vector<HaloPlan> plans_of_all_ranks(const Ownership& ownership,
                                         const std::vector<std::vector<GlobalNode>>& needed) {
  std::vector<HaloPlan> plans;
  for (int rank = 0; rank < ownership.ranks; ++rank) {
    plans.push_back(plan_receives(ownership, rank, needed[rank]));
  }
  for (int rank = 0; rank < ownership.ranks; ++rank) {
    std::vector<std::vector<std::int32_t>> wanted;
    for (const HaloPlan& plan : plans) {
      std::vector<std::int32_t>& of_plan = wanted.emplace_back();
      const auto begin = std::accumulate(plan.receive_rows.begin(),
                                         plan.receive_rows.begin() + rank, std::int64_t{0});
      for (std::int64_t row = 0; row < plan.receive_rows[rank]; ++row) {
        of_plan.push_back(value(plan.halo[begin + row]));
      }
    }
    plan_sends(plans[rank], ownership.nodes_of(rank), wanted);
  }
  return plans;
}

Ownership random_ownership(std::int64_t count, int ranks) {
  const Random random(5, Purpose::synthetic);
  Ownership ownership{ranks, {}};
  for (std::int64_t node = 0; node < count; ++node) {
    // The last rank of several owns nothing.
    const auto owners = static_cast<std::uint64_t>(std::max(1, ranks - 1));
    ownership.owner.push_back(
        static_cast<std::int32_t>(random.index(owners, static_cast<std::uint64_t>(node))));
  }
  return ownership;
}

TEST(HaloPlan, ListsEachRemoteNeighbourOnceByOwnerThenNumber) {
  const Ownership ownership{3, {2, 0, 1, 2, 0, 1}};
  const HaloPlan plan = plan_receives(ownership, 1, nodes({3, 2, 4, 0, 3, 5, 4, 1, 0}));
  EXPECT_EQ(plan.halo, nodes({1, 4, 0, 3}));
  EXPECT_EQ(plan.receive_rows, (std::vector<std::int64_t>{2, 0, 2}));
  EXPECT_EQ(plan.halo_rows(), 4);
}

TEST(HaloPlan, SendsOwnedLocalRowsGroupedByReceiver) {
  const Ownership ownership{3, {2, 0, 1, 2, 0, 1}};
  HaloPlan plan = plan_receives(ownership, 2, {});
  plan_sends(plan, ownership.nodes_of(2), {{3}, {0, 3}, {}});
  EXPECT_EQ(plan.send_rows, (std::vector<std::int64_t>{1, 2, 0}));
  EXPECT_EQ(plan.send_local_rows, (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(plan.receive_rows, (std::vector<std::int64_t>{0, 0, 0}));
}

TEST(HaloPlan, SendAndReceiveListsOfAllRanksAgree) {
  for (const int ranks : {1, 2, 3, 4, 5, 8, 40}) {
    const Ownership ownership = random_ownership(97, ranks);
    const auto needed = random_needs(ownership, 3);
    const std::vector<HaloPlan> plans = plans_of_all_ranks(ownership, needed);
    for (int to = 0; to < ranks; ++to) {
      // The halo is exactly what is needed and not owned.
      std::set<std::int32_t> expected;
      for (const GlobalNode node : needed[to]) {
        if (ownership.owner[value(node)] != to) expected.insert(value(node));
      }
      std::set<std::int32_t> halo;
      for (const GlobalNode node : plans[to].halo) halo.insert(value(node));
      EXPECT_EQ(halo, expected);
      EXPECT_EQ(plans[to].halo_rows(), static_cast<std::int64_t>(expected.size()));
      EXPECT_EQ(plans[to].receive_rows[to], 0);
      EXPECT_EQ(plans[to].send_rows[to], 0);

      // What arrives, rank by rank, is the halo in its order.
      std::vector<GlobalNode> arrived;
      for (int from = 0; from < ranks; ++from) {
        ASSERT_EQ(plans[from].send_rows[to], plans[to].receive_rows[from]);
        const std::vector<GlobalNode> owned = ownership.nodes_of(from);
        const auto begin = std::accumulate(plans[from].send_rows.begin(),
                                           plans[from].send_rows.begin() + to, std::int64_t{0});
        for (std::int64_t row = 0; row < plans[from].send_rows[to]; ++row) {
          arrived.push_back(owned[plans[from].send_local_rows[begin + row]]);
        }
      }
      EXPECT_EQ(arrived, plans[to].halo) << "rank " << to << " of " << ranks;
    }
  }
}

TEST(HaloPlan, APermutationOfRanksChangesNothingButNames) {
  constexpr int kRanks = 5;
  const Ownership ownership = random_ownership(97, kRanks);
  const std::vector<std::int32_t> renamed = {3, 0, 4, 1, 2};
  Ownership permuted = ownership;
  for (std::int32_t& owner : permuted.owner) owner = renamed[owner];
  const auto needed = random_needs(ownership, 3);
  std::vector<std::vector<GlobalNode>> permuted_needed(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) permuted_needed[renamed[rank]] = needed[rank];

  const std::vector<HaloPlan> plans = plans_of_all_ranks(ownership, needed);
  const std::vector<HaloPlan> others = plans_of_all_ranks(permuted, permuted_needed);
  for (int rank = 0; rank < kRanks; ++rank) {
    const HaloPlan& plan = plans[rank];
    const HaloPlan& other = others[renamed[rank]];
    for (int peer = 0; peer < kRanks; ++peer) {
      EXPECT_EQ(plan.receive_rows[peer], other.receive_rows[renamed[peer]]);
      EXPECT_EQ(plan.send_rows[peer], other.send_rows[renamed[peer]]);
    }
    std::vector<GlobalNode> halo = plan.halo;
    std::vector<GlobalNode> other_halo = other.halo;
    std::sort(halo.begin(), halo.end());
    std::sort(other_halo.begin(), other_halo.end());
    EXPECT_EQ(halo, other_halo);
  }
}

TEST(HaloPlan, AnAssignmentByPeopleOfSeveralDomainsHasAgreeingLists) {
  for (int domains = 1; domains <= 3; ++domains) {
    const std::vector<std::int64_t> sizes(static_cast<std::size_t>(domains), 20);
    const NodeSpace space(sizes, sizes);
    People people{20, {}};
    for (std::int64_t user = 0; user < space.users(); ++user) {
      people.person.push_back(static_cast<std::int32_t>(user % 20));
    }
    for (const int ranks : {1, 3, 7, 100}) {
      const Ownership ownership = assign_by_hash(space, people, ranks);
      const std::vector<HaloPlan> plans = plans_of_all_ranks(ownership, random_needs(ownership, 4));
      std::int64_t sent = 0;
      std::int64_t received = 0;
      for (const HaloPlan& plan : plans) {
        sent += static_cast<std::int64_t>(plan.send_local_rows.size());
        received += plan.halo_rows();
      }
      EXPECT_EQ(sent, received);
      EXPECT_EQ(sent > 0, ranks > 1);
    }
  }
}

TEST(HaloPlanDeathTest, ANodeAskedOfTheWrongRankIsOurBug) {
  const Ownership ownership{2, {0, 1}};
  HaloPlan plan = plan_receives(ownership, 0, {});
  EXPECT_DEATH(plan_sends(plan, ownership.nodes_of(0), {{}, {1}}), "does not own it");
}

}  // namespace
}  // namespace micrec
