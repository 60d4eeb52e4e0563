#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "partition/node_space.h"

namespace micrec {

/// Which rank owns which node.
struct Ownership {
  int ranks = 1;
  std::vector<std::int32_t> owner;  // (nodes) rank

  /// The nodes of a rank by rising global number; a rank may own none.
  std::vector<GlobalNode> nodes_of(int rank) const;
};

/// How the rows of some nodes arrive where every rank gives its own.
struct Arrival {
  std::vector<std::int64_t> rows_per_rank;  // (ranks)
  std::vector<std::int32_t> row_of;         // (nodes) in what arrives, rank 0's first
};
/// Shapes   owner: (nodes) their ranks.
Arrival arrival_of(std::span<const std::int32_t> owner, int ranks);

/// The nodes of one person in several domains stay together: `person[user]` is the number of the
/// person a user node belongs to; (space.users()) int32.
struct People {
  std::int64_t count = 0;
  std::vector<std::int32_t> person;
};

/// Every node to a rank by a hash of its number (a person's by the person's), so that nothing needs
/// to be known.
Ownership assign_by_hash(const NodeSpace& space, const People& people, int ranks);

/// Hash-free and deterministic: people and items go, heaviest first, to the rank with the least
/// work so far, where work is the node's training interactions plus a constant a row. `degree`:
/// (nodes) int32.
Ownership assign_balanced(const NodeSpace& space, const People& people,
                          const std::vector<std::int32_t>& degree, int ranks);

/// What an assignment costs, for the plan that a run prints.
struct RankLoad {
  std::int64_t users = 0;
  std::int64_t items = 0;
  std::int64_t nonzeros = 0;
};
std::vector<RankLoad> loads_of(const NodeSpace& space, const Ownership& ownership,
                               const std::vector<std::int32_t>& degree);

}  // namespace micrec
