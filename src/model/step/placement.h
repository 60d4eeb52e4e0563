#pragma once

#include <ATen/core/Tensor.h>

#include "model/step/shard.h"

namespace micrec {

/// Where the numbers of a tensor lie.
enum class Placement {
  everywhere,  ///< all of them on every rank
  columns,     ///< of the last dimension each column part has its own, all row parts the same
  nodes,       ///< a row a node, on the ranks of the node's row part
  nodes_and_columns,  ///< of the rows of a row part each rank has its own columns
};
constexpr bool has_row_a_node(Placement placement) {
  return placement == Placement::nodes || placement == Placement::nodes_and_columns;
}
constexpr bool is_cut_in_columns(Placement placement) {
  return placement == Placement::columns || placement == Placement::nodes_and_columns;
}

/// Mean of the chosen rows of each kind: of the users of each domain, then of the items of each. It
/// is summed in fixed point, so that its bits do not depend on how rows are shared out.
///
/// Shapes   rows: (owned rows, width) float32, of numbers below 2^23 / nodes; chosen: (owned rows)
///          bool; returns (2 domains, width). Ranks: collective.
at::Tensor mean_rows_of_kinds(const Shard& shard, const at::Tensor& rows, const at::Tensor& chosen);

/// A tensor as checkpoints have it: the rows of Shard::whole_nodes with all columns. Without column
/// parts it is the same tensor, no copy. Ranks: collective.
at::Tensor to_whole(const Shard& shard, const at::Tensor& value, Placement placement);
/// One of that shape to read into, not initialised. Ranks: local.
at::Tensor empty_whole(const Shard& shard, const at::Tensor& value, Placement placement);
/// Takes it back into `value`. Ranks: collective.
void from_whole(const Shard& shard, const at::Tensor& whole, Placement placement, at::Tensor value);

}  // namespace micrec
