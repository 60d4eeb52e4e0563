#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/pattern.h"
#include "kernels/row_set.h"

namespace micrec {

/// The least squares problems of one side of implicit ALS, one a row r of a pattern, over its
/// neighbours' rows z_c in a basis in which what all rows share is diagonal:
///
///   (diag(shared) + penalty_r I + sum over c of z_c z_c') x_r = sum over c of z_c
struct ImplicitRows {
  const Pattern& pattern;
  std::vector<std::int64_t> rows;  // of the pattern, those to solve for
  const RowSet& columns;       // of the pattern's columns: those that `z` has, all that are used
  const at::Tensor& z;         // (columns.size(), dim) float32
  std::vector<double> shared;  // (dim), at least 0
  std::function<double(std::int64_t degree)> penalty;  // above 0

  /// Neighbours of the row at a place in `rows`.
  std::int64_t degree(std::int64_t place) const { return pattern.degree(rows[place]); }
};

struct SolvedRows {
  at::Tensor x;                // (rows, dim) float32, zero for a row without neighbours
  std::vector<double> misfit;  // (rows) least value of the problem: neighbours - <sum of z_c, x_r>
};

/// Solves them. A row of at most `dim` neighbours takes a system of its neighbours' size, by
/// (D + Z'Z)^-1 Z' 1 = D^-1 Z' (I + Z D^-1 Z')^-1 1, any other one of `dim`. The bits of a row
/// depend on its neighbours in their order alone.
///
/// Ranks    local.
/// Errors   CHECK on shapes. A row is NaN where its system is not positive in float32.
/// Cost     min(degree, dim)^2 * (max(degree, dim) + min(degree, dim) / 3) operations a row near
///          the processor's peak; for each thread 16 systems.
SolvedRows solve_implicit_rows(const ImplicitRows& problem);

/// The same by LibTorch's batched operators on the device of z: for a GPU.
SolvedRows solve_implicit_rows_by_torch(const ImplicitRows& problem);

}  // namespace micrec
