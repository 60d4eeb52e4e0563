#include "partition/halo_plan.h"

#include <glog/logging.h>

#include <algorithm>

namespace micrec {

HaloPlan plan_receives(const Ownership& ownership, int rank,
                       const std::vector<GlobalNode>& needed) {
  CHECK_GE(rank, 0);
  CHECK_LT(rank, ownership.ranks);
  // One bit a node finds the distinct ones in a single pass: `needed` has an entry for every edge.
  std::vector<bool> remote(ownership.owner.size());
  HaloPlan plan;
  for (const GlobalNode node : needed) {
    const std::int32_t owner = ownership.owner[value(node)];
    if (owner == rank || remote[value(node)]) continue;
    remote[value(node)] = true;
    plan.halo.push_back(node);
  }
  std::sort(plan.halo.begin(), plan.halo.end(), [&](GlobalNode a, GlobalNode b) {
    const std::int32_t owner_a = ownership.owner[value(a)];
    const std::int32_t owner_b = ownership.owner[value(b)];
    return owner_a != owner_b ? owner_a < owner_b : a < b;
  });
  plan.receive_rows.resize(static_cast<std::size_t>(ownership.ranks));
  for (const GlobalNode node : plan.halo) ++plan.receive_rows[ownership.owner[value(node)]];
  return plan;
}

void plan_sends(HaloPlan& plan, const std::vector<GlobalNode>& owned,
                const std::vector<std::vector<std::int32_t>>& wanted) {
  CHECK_EQ(wanted.size(), plan.receive_rows.size()) << "one list a rank";
  plan.send_rows.clear();
  plan.send_local_rows.clear();
  for (const std::vector<std::int32_t>& nodes : wanted) {
    plan.send_rows.push_back(static_cast<std::int64_t>(nodes.size()));
    for (const std::int32_t node : nodes) {
      const auto row = std::lower_bound(owned.begin(), owned.end(), GlobalNode(node));
      CHECK(row != owned.end() && value(*row) == node)
          << "node " << node << " was asked of a rank that does not own it";
      plan.send_local_rows.push_back(static_cast<std::int32_t>(row - owned.begin()));
    }
  }
}

}  // namespace micrec
