#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "graph/sharded_graph.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// What every rank knows of a whole data set before it is shared out.
struct DatasetSummary {
  NodeSpace space;
  People people;
  std::vector<std::int32_t> training_degree;        // (nodes) training interactions of every node
  std::vector<std::int64_t> training_interactions;  // (domains)
};

/// Cost: one pass over the training interactions in pieces; 8 bytes a node.
DatasetSummary summarise(const DatasetFile& dataset);

/// Which interactions make the graph.
enum class Observed {
  training,  ///< what the model is trained on
  all,       ///< those observed later too: new users and items are let in without retraining
};

/// One rank's part of the interaction graph over all domains and of what is known about its nodes.
/// "Owned rows" are the rank's nodes by rising global number; "local rows" are those and the halo.
struct Shard {
  const DatasetSummary* summary = nullptr;
  Ownership ownership;
  int threads = 1;
  Communicator* communicator = nullptr;
  std::unique_ptr<ShardedGraph> graph;

  at::Tensor degree;               // (local rows) float32, interactions in this graph
  at::Tensor inverse_sqrt_degree;  // (local rows) float32, 0 for a lone node
  at::Tensor training_degree;      // (owned rows) float32, training interactions alone
  at::Tensor kind;  // (owned rows, 2 domains) float32 one-hot: users of each domain, items of each
  at::Tensor item_domain;  // (owned rows, domains) float32 one-hot of items; zero rows for users
  at::Tensor link_to;      // (links) int64 owned row of a user ...
  at::Tensor link_from;    // (links) ... and of the same person in another domain, both ways
  std::vector<std::int32_t> row_of;  // (nodes) owned row, -1 where another rank owns the node

  int rank() const { return communicator->rank(); }
  const NodeSpace& space() const { return summary->space; }
  const std::vector<GlobalNode>& owned() const { return graph->owned(); }
  std::int64_t owned_rows() const { return graph->owned_rows(); }
};

/// Degree to the power -1/2, and 0 for a lone node. Shapes: (n) float32.
at::Tensor inverse_sqrt(const at::Tensor& degree);

/// Loads the rows this rank owns. Ranks: collective.
/// Cost     two passes over the interactions in pieces; 4 bytes an owned nonzero and 8 a node.
/// `summary` must outlive the shard.
Shard load_shard(const DatasetFile& dataset, const DatasetSummary& summary, Ownership ownership,
                 Observed observed, int threads, Communicator& communicator);

}  // namespace micrec
