#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "graph/sharded_graph.h"
#include "model/step/column_exchange.h"
#include "model/step/row_groups.h"
#include "partition/node_space.h"
#include "partition/ownership.h"
#include "partition/planning/step_costs.h"
#include "partition/process_grid.h"

namespace micrec {

/// What every rank knows of a whole data set before it is shared out.
struct DatasetSummary {
  NodeSpace space;
  People people;
  std::vector<std::int32_t> training_degree;        // (nodes) training interactions of every node
  std::vector<std::int64_t> training_interactions;  // (domains)
};

/// Which interactions make the graph, and people's histories.
enum class Observed {
  training,  ///< what the model is trained on
  all,       ///< those observed later too: new users and items are let in without retraining
};

/// The splits that they are in.
std::vector<Split> splits_of(Observed observed);

/// How the nodes of a data set are numbered.
NodeSpace node_space(const DatasetFile& dataset);

/// With Observed::all what came later counts as if it were of training: for whoever fits on it.
/// Cost: one pass over the interactions in pieces; 8 bytes a node.
DatasetSummary summarise(const DatasetFile& dataset, Observed observed = Observed::training);

/// The communicators of a rank in a process grid.
struct GridGroups {
  Communicator* world = nullptr;
  Communicator* rows = nullptr;     // the ranks with the same columns, one a row part
  Communicator* columns = nullptr;  // the ranks of the same row part; null with one column part
  std::vector<std::unique_ptr<Communicator>> made;
};

/// Ranks: collective. `world` outlives the result.
GridGroups split_world(Communicator& world, const ProcessGrid& grid);

/// One rank's part of the interaction graph over all domains and of what is known about its nodes.
/// "Owned rows" are the nodes of the rank's row part by rising global number, of which it has the
/// columns of its column part; "local rows" are those and the halo; "whole rows" are the nodes that
/// it has all columns of where whole rows are needed, by rising global number.
struct Shard {
  const DatasetSummary* summary = nullptr;
  ProcessGrid grid;
  Ownership ownership;                   // row part of every node
  Ownership whole;                       // rank of the world that has the node's whole row
  Communicator* communicator = nullptr;  // row group: the ranks with the same columns
  Communicator* columns = nullptr;       // column group; null with one column part
  Communicator* world = nullptr;
  std::unique_ptr<ShardedGraph> graph;
  std::unique_ptr<ColumnExchange> columns_of_rows;  // owned rows <-> whole rows

  /// Sums over all row parts have the same bits for any number of them: a rank sums each of its
  /// summands apart (see Layout), and all of them are added in one fixed tree.
  bool reproducible = false;
  std::vector<std::int64_t> summands_of_part;  // (row parts) as many as each has
  std::vector<std::int32_t> summand_of_row;    // (owned rows) from 0 on this rank
  RowGroups summand_rows;                      // owned rows by summand

  std::vector<GlobalNode> whole_nodes;     // by rising number
  std::vector<std::int32_t> whole_row_of;  // (owned rows) whole row, -1 where another rank has it

  at::Tensor degree;               // (local rows) float32, interactions in this graph
  at::Tensor inverse_sqrt_degree;  // (local rows) float32, 0 for a lone node
  at::Tensor training_degree;      // (owned rows) float32, training interactions alone
  at::Tensor kind;  // (owned rows, 2 domains) float32 one-hot: users of each domain, items of each
  at::Tensor item_domain;  // (owned rows, domains) float32 one-hot of items; zero rows for users
  at::Tensor link_to;      // (links) int64 owned row of a user ...
  at::Tensor link_from;    // (links) ... and of the same person in another domain, both ways
  c10::Device device{c10::kCPU};     // of the tensors above, and of what is computed with them
  std::vector<std::int32_t> row_of;  // (nodes) owned row, -1 where another rank owns the node

  int rank() const { return communicator->rank(); }  ///< in the row group: the row part
  int column_part() const { return columns == nullptr ? 0 : columns->rank(); }
  std::int64_t summands() const { return summand_rows.groups; }  ///< of this rank
  const NodeSpace& space() const { return summary->space; }
  const std::vector<GlobalNode>& owned() const { return graph->owned(); }
  std::int64_t owned_rows() const { return graph->owned_rows(); }
};

/// Takes the tensors to the device where the model will compute; a reproducible shard's stay on a
/// CPU. Ranks: local.
void move_to(Shard& shard, c10::Device device);

/// Stores the rows of the graph so that sums over neighbours, of `width` columns, read what lies in
/// caches: where they compute on the CPU and a matrix of all local rows has 12 MiB or more, below
/// which caches near the cores have much of it anyway. Pays where sums are many, as in training.
/// Ranks: local. Cost: see order_of_near_rows.
void store_for_sums(Shard& shard, std::int64_t width);
/// Whether it does, for so many local rows on a CPU.
bool is_stored_for_sums(double local_rows, double width);

/// The items among Shard::whole_nodes, numbered over all domains, rising.
std::vector<std::int32_t> whole_items(const Shard& shard);

/// Degree to the power -1/2, and 0 for a lone node. Shapes: (n) float32.
at::Tensor inverse_sqrt(const at::Tensor& degree);

/// Loads the rows this rank owns. `summary` must outlive the shard.
/// Ranks    collective.
/// Cost     two passes over the interactions in pieces; 4 bytes an owned nonzero and 8 a node.
Shard load_shard(const DatasetFile& dataset, const DatasetSummary& summary, Layout layout,
                 Observed observed, const GridGroups& groups);

/// The same where every rank has all columns: a grid of as many rows as ranks.
Shard load_shard(const DatasetFile& dataset, const DatasetSummary& summary, Ownership ownership,
                 Observed observed, Communicator& communicator);

/// The memory that a shard holds, with what sampling and evaluation keep of its interactions.
void declare_shard(const RankPlace& at, int domains, StepCosts& costs);

}  // namespace micrec
