#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "cluster/communicator.h"
#include "partition/process_grid.h"

namespace micrec {

/// Sums over all columns of an embedding of which this rank has some: in double precision, over the
/// leaves of column_leaves(), then up a balanced binary tree. A rank's columns are a subtree, and
/// the ranks of a column group finish the tree, so a sum has the same bits at any number of column
/// parts and on all of them.
class ColumnSums {
 public:
  /// `columns` may be null where the grid has one column part, and otherwise outlives this.
  ColumnSums(const ProcessGrid& grid, int dim, Communicator* columns);

  std::int64_t width() const { return width_; }  ///< columns of this rank

  /// This rank's subtree of the sum of a_c * b_c. a, b: (width) float32.
  double dot(const float* a, const float* b) const;
  /// This rank's subtree of a sum. x: (width) float64.
  double sum(const double* x) const;

  /// Finishes sums that every rank of the column group has its subtree of.
  /// Shapes   partial: any, float64; returns the same. Ranks: collective; nothing travels where
  /// there is one column part.
  at::Tensor finish(const char* name, const at::Tensor& partial) const;

 private:
  Communicator* columns_;
  std::int64_t width_;
  std::int64_t leaves_;  // of this rank
  std::int64_t leaf_width_;
};

/// The sum of all rows: neighbours are added, then neighbours of these, until one is left.
/// Shapes   x: (n, ...), n >= 1; returns (...).
at::Tensor tree_sum(at::Tensor x);

}  // namespace micrec
