#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// R x C: users and items are shared out over R row parts, the columns of every embedding over C
/// column parts. The ranks of one row part are neighbours: a node's columns stay on one machine.
struct ProcessGrid {
  int rows = 1;
  int columns = 1;

  int ranks() const { return rows * columns; }
  int row_part(int rank) const { return rank / columns; }
  int column_part(int rank) const { return rank % columns; }
  int rank_of(int row_part, int column_part) const { return row_part * columns + column_part; }
};

/// "4x2"
std::string to_text(const ProcessGrid& grid);

/// Sums over the columns of an embedding are made over this many leaves of equal width, which are
/// then added in a balanced binary tree: the largest power of two that divides dim, at most 64. A
/// column part is a whole subtree, so such a sum has the same bits for any number of parts.
int column_leaves(int dim);

/// What "RxC" says, whatever the ranks; nothing where it is not written so.
std::optional<ProcessGrid> read_grid(const std::string& text);

/// The grid that --grid names, "RxC".
///
/// Errors   Error(Cause::usage) where it is not written so, does not have `ranks` ranks, or cuts
/// `dim` columns into parts that are not whole subtrees (names the numbers of parts that are).
ProcessGrid parse_grid(const std::string& text, int ranks, int dim);

/// The columns of a column part. CHECK: the grid fits dim.
Range columns_of(const ProcessGrid& grid, int dim, int column_part);

/// Who does what for which node, decided before a rank loads anything.
///
/// The graph and the trained rows are shared out by row part. What needs whole rows (evaluation,
/// checkpoints, export, the contrastive loss) is shared out once more over the column parts of each
/// row part, people again together.
struct Layout {
  ProcessGrid grid;
  /// The parts over which gradients of parameters that every row part has are summed: first over a
  /// part's nodes or triples, then over the parts. A row part has one or more of them whole.
  Ownership summands;
  Ownership rows;   // row part of every node
  Ownership whole;  // rank of every node
  /// Whether the parts and the order of their sums are to be the same for any grid; otherwise each
  /// row part is one summand.
  bool reproducible = false;
};

/// Row part r gets the summands [r * n / R, (r + 1) * n / R) of n; CHECK: at least one each.
/// Within a row part people and items go round the column parts in turn.
Layout make_layout(const NodeSpace& space, const People& people, Ownership summands,
                   const ProcessGrid& grid, bool reproducible = false);

/// The summands of a row part.
Range summands_of(const Layout& layout, int row_part);

}  // namespace micrec
