#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cluster/communicator.h"
#include "partition/ownership.h"

namespace micrec {

/// Nodes of all ranks in their order, some at a time, for rank 0 to write. Refers to what it is
/// made from.
class NodeBlocks {
 public:
  /// Some nodes, how they arrive from all ranks, and what this rank has of them.
  struct Block {
    Range nodes;
    std::vector<std::int64_t> rows_of;  // (ranks) how many each has
    std::vector<std::int32_t> row_of;   // (nodes) place in what arrives
    std::int64_t first_own = 0;         // owned row of this rank's first
  };

  /// Blocks have `block_bytes` at most, or a node.
  NodeBlocks(const Ownership& ownership, Communicator& communicator, std::int64_t block_bytes)
      : ownership_(ownership), communicator_(communicator), block_bytes_(block_bytes) {}

  /// Owned rows of this rank before a node.
  std::int64_t owned_before(std::int64_t node) const;

  /// Ranks: local.
  void for_each(Range nodes, std::int64_t node_bytes,
                const std::function<void(const Block&)>& use) const;

  /// Calls `use` on rank 0 with the rows of the nodes, from nodes.begin on.
  ///
  /// Shapes   rows: (owned rows, dim) float32; values: (nodes.size(), dim).
  /// Ranks    collective.
  void gather(Range nodes, const at::Tensor& rows,
              const std::function<void(Range nodes, std::span<const float> values)>& use) const;

 private:
  const Ownership& ownership_;
  Communicator& communicator_;
  std::int64_t block_bytes_;
};

}  // namespace micrec
