#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "cluster/communicator.h"
#include "graph/pattern.h"
#include "partition/halo_plan.h"
#include "partition/ownership.h"

namespace micrec {

/// One rank's rows of a sparse operator over all nodes, with the exchange that brings the remote rows it reads.
/// Local numbering of its columns: owned nodes by rising global number, then the halo by (owner, global number).
class ShardedGraph {
 public:
  /// The rows of this rank's nodes. Ranks: collective (the ranks tell each other what they read).
  /// `offsets` (owned + 1) and `neighbours` (nonzeros) list, for every owned node, the columns as global numbers, rising.
  ShardedGraph(const Ownership& ownership, const std::vector<std::int64_t>& offsets,
               const std::vector<GlobalNode>& neighbours, Communicator& communicator);

  std::int64_t owned_rows() const;
  std::int64_t local_rows() const;  ///< owned and halo
  const std::vector<GlobalNode>& owned() const;
  const HaloPlan& halo_plan() const;
  const Pattern& pattern() const;
  const std::vector<GlobalNode>& local_to_global() const;  // (local_rows)
  Communicator& communicator() const;

  /// Appends the halo: x (owned_rows, ...) -> (local_rows, ...). Ranks: collective. Not differentiable by itself.
  at::Tensor with_halo(const char* name, const at::Tensor& x) const;

 private:
  // the graph engineer fills this
};

}  // namespace micrec
