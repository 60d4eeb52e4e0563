#include "partition/ownership.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <queue>
#include <utility>

#include "base/number_lists.h"
#include "base/random.h"
#include "partition/units.h"

namespace micrec {
namespace {

// What a row costs beside its nonzeros (optimizer, dropout, normalisation, memory), in nonzeros.
constexpr std::int64_t kNonzerosPerRow = 4;

void check_arguments(const NodeSpace& space, const People& people, int ranks) {
  CHECK_GE(ranks, 1);
  CHECK_EQ(static_cast<std::int64_t>(people.person.size()), space.users());
  for (const std::int32_t person : people.person) {
    CHECK_GE(person, 0);
    CHECK_LT(person, people.count);
  }
}

// Scales 32 random bits to [0, ranks) without the bias and the cost of a division.
std::int32_t rank_of_hash(std::uint32_t hash, int ranks) {
  return static_cast<std::int32_t>((std::uint64_t{hash} * static_cast<std::uint64_t>(ranks)) >> 32);
}

}  // namespace

std::vector<GlobalNode> Ownership::nodes_of(int rank) const {
  std::vector<GlobalNode> nodes;
  nodes.reserve(static_cast<std::size_t>(std::count(owner.begin(), owner.end(), rank)));
  for (std::size_t node = 0; node < owner.size(); ++node) {
    if (owner[node] == rank) nodes.push_back(GlobalNode(static_cast<std::int32_t>(node)));
  }
  return nodes;
}

Ownership assign_by_hash(const NodeSpace& space, const People& people, int ranks) {
  check_arguments(space, people, ranks);
  Ownership ownership{ranks, std::vector<std::int32_t>(static_cast<std::size_t>(space.nodes()))};
  for (std::int64_t user = 0; user < space.users(); ++user) {
    ownership.owner[user] =
        rank_of_hash(mix(static_cast<std::uint32_t>(people.person[user])), ranks);
  }
  for (std::int64_t item = space.users(); item < space.nodes(); ++item) {
    // People and nodes are numbered apart; the complement keeps person n and node n unrelated.
    ownership.owner[item] = rank_of_hash(mix(~static_cast<std::uint32_t>(item)), ranks);
  }
  return ownership;
}

Ownership assign_balanced(const NodeSpace& space, const People& people,
                          const std::vector<std::int32_t>& degree, int ranks) {
  check_arguments(space, people, ranks);
  CHECK_EQ(static_cast<std::int64_t>(degree.size()), space.nodes());

  const Units units = units_of(space, people, degree);
  std::vector<std::int64_t> work = units.nonzeros;
  for (std::size_t unit = 0; unit < work.size(); ++unit) {
    work[unit] += kNonzerosPerRow * units.rows[unit];
  }
  std::vector<std::int32_t> heaviest_first(work.size());
  std::iota(heaviest_first.begin(), heaviest_first.end(), 0);
  std::sort(heaviest_first.begin(), heaviest_first.end(), [&](std::int32_t a, std::int32_t b) {
    return work[a] != work[b] ? work[a] > work[b] : a < b;
  });

  using Load = std::pair<std::int64_t, std::int32_t>;  // work, rank
  std::priority_queue<Load, std::vector<Load>, std::greater<>> least_loaded;
  for (std::int32_t rank = 0; rank < ranks; ++rank) least_loaded.emplace(0, rank);
  std::vector<std::int32_t> rank_of(work.size());
  for (const std::int32_t unit : heaviest_first) {
    const auto [load, rank] = least_loaded.top();
    least_loaded.pop();
    rank_of[unit] = rank;
    least_loaded.emplace(load + work[unit], rank);
  }

  return ownership_of_units(units, rank_of, ranks);
}

Arrival arrival_of(std::span<const std::int32_t> owner, int ranks) {
  const NumberLists nodes = places_by_number(owner, ranks);
  Arrival arrival{{}, std::vector<std::int32_t>(owner.size())};
  for (int q = 0; q < ranks; ++q) arrival.rows_per_rank.push_back(std::ssize(nodes.of(q)));
  std::int32_t row = 0;
  for (const std::int32_t node : nodes.values) arrival.row_of[node] = row++;
  return arrival;
}

std::vector<RankLoad> loads_of(const NodeSpace& space, const Ownership& ownership,
                               const std::vector<std::int32_t>& degree) {
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), space.nodes());
  CHECK_EQ(static_cast<std::int64_t>(degree.size()), space.nodes());
  std::vector<RankLoad> loads(static_cast<std::size_t>(ownership.ranks));
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    RankLoad& load = loads[ownership.owner[node]];
    ++(node < space.users() ? load.users : load.items);
    load.nonzeros += degree[node];
  }
  return loads;
}

}  // namespace micrec
