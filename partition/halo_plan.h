#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "partition/ownership.h"

namespace micrec {

/// Which rows of other ranks a rank reads, fixed at start: the halo follows the owned rows in local
/// numbering, ordered by (owner, global number), so a receive from one rank is one contiguous
/// block.
struct HaloPlan {
  std::vector<GlobalNode> halo;            // (halo rows) by (owner, global number)
  std::vector<std::int64_t> receive_rows;  // (ranks) rows that come from each rank; 0 from itself
  std::vector<std::int64_t> send_rows;     // (ranks) rows that go to each rank; 0 to itself
  std::vector<std::int32_t>
      send_local_rows;  // (sum of send_rows) owned local rows, grouped by receiver

  std::int64_t halo_rows() const { return static_cast<std::int64_t>(halo.size()); }
};

/// The receiving half: the distinct remote nodes among `needed` (any order, repeats allowed).
HaloPlan plan_receives(const Ownership& ownership, int rank, const std::vector<GlobalNode>& needed);

/// The sending half: `wanted[q]` is the receive list that rank q has for this rank, as global
/// numbers; `owned` are this rank's nodes by rising number.
void plan_sends(HaloPlan& plan, const std::vector<GlobalNode>& owned,
                const std::vector<std::vector<std::int32_t>>& wanted);

}  // namespace micrec
