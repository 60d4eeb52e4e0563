#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "cluster/communicator.h"
#include "graph/sharded_graph.h"
#include "partition/ownership.h"

namespace micrec {

/// A sparse operator with weights of its own and, not being symmetric, an explicit transpose: the
/// item-item graph of a modality's nearest neighbours.
class WeightedGraph {
 public:
  /// The rows of this rank's nodes, as for ShardedGraph; `weights`: (nonzeros), beside them. The
  /// transpose is made by sending each nonzero to the owner of its column. Ranks: collective.
  WeightedGraph(const Ownership& ownership, const Lists<GlobalNode>& rows,
                const std::vector<float>& weights, Communicator& communicator);

  /// The operator S, and its transpose; each knows its own halo.
  const ShardedGraph& graph() const { return forward_.graph; }
  const ShardedGraph& transpose() const { return backward_.graph; }
  /// Takes the weights to the device where the products are computed. Ranks: local.
  void move_to(c10::Device device);

  /// Shapes: (nonzeros) float32 of each.
  const at::Tensor& weights() const { return forward_.weights; }
  const at::Tensor& transpose_weights() const { return backward_.weights; }

 private:
  struct Half {
    ShardedGraph graph;
    at::Tensor weights;
  };
  static Half transposed(const Ownership& ownership, const ShardedGraph& graph,
                         const Lists<GlobalNode>& rows, const std::vector<float>& weights,
                         Communicator& communicator);

  Half forward_;
  Half backward_;
};

}  // namespace micrec
