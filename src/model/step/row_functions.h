#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "model/step/column_sums.h"
#include "model/step/row_groups.h"

namespace micrec {

// The differentiable functions of rows that the loss is made of. A row's bits depend on that row
// alone: not on the other rows, on its place among them, on the threads, nor on how the columns are
// shared out. `width` is the number of columns of this rank.
//
// Parameters that every row part has come as `copies` (groups, ...): one a group of rows, all
// equal, so that the gradient has a part for each group, which is a sum over the group's rows in
// order.

/// y = x W. Shapes   x: (n, f); copies: (groups, f, width); returns (n, width), all float32.
/// Ranks: local. Cost: as row_product; with several groups its rows are copied once for backward.
at::Tensor grouped_row_product(const at::Tensor& x, const at::Tensor& copies,
                               const RowGroups& groups);

/// Every row times the row of a table that `index` names; zero where index is -1.
/// Shapes   x: (n, width) float32; index: (n) int32; copies: (groups, entries, width) float32, or
///          on
/// another device than the CPU (1, entries, 1); returns (n, width). Ranks: local.
at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups);

/// Shorter projections are divided by this, as if they were so long.
inline constexpr double kSmallestContentNorm = 1e-6;

/// Every row times the one row of `copies` (groups, 1, width). Shapes and ranks as times_table().
at::Tensor times_row(const at::Tensor& x, const at::Tensor& copies, const RowGroups& groups);

/// The content term: sum_m c^m p^m / |p^m|, c^m the coefficient of the modalities present.
/// Shapes   projections: (modalities, n, width) float32, x W_m or any positive multiple of it;
/// pattern: (n) int32, bit m where modality m is present; copies[m]: (groups, patterns, width)
/// float32, or (1, patterns, 1), as times_table(), zero where the pattern lacks m; returns (n,
/// width).
/// Ranks    collective in the column group, once each way.
at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums);

/// Dot products of row t of one block with row t of another.
/// Shapes   x: (blocks * n, width) float32, block 0's rows first; `pairs`: two blocks each; returns
/// (pairs, n) float64, over all columns, equal on all ranks of the column group.
/// Ranks    collective in the column group, forward only: every rank goes on with the same result,
/// so the gradient that each has of it is whole.
at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums);

/// What a term of the loss reports of a value a triple: its sums over each group's rows in order.
/// Shapes   values: (n) float64; returns (groups). Ranks: local.
at::Tensor sums_of_rows(const at::Tensor& values, const RowGroups& groups);

/// What a triple's loss is made of, summed over the triples of each group in order.
struct TripleSums {
  at::Tensor ranking;  // (groups) float64 of weight * softplus(negative - positive)
  at::Tensor squares;  // (groups) float64 of weight * square_weight * squares
};

/// sum over triples of weight * (softplus(negative - positive) + square_weight * squares).
/// Shapes   dots: (2, n) or (5, n) float64: score of the positive, of the negative, and the squares
/// of three rows; weight: (n) float64; returns a float64 scalar. Ranks: local.
at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts);

// What the functions above do for rows that are on a device other than the CPU, by kernels that are
// given to it: the same formulas, and the same bits in every run,
// but sums in the device's own order. There is one group of rows, since only --reproducible has
// several.
namespace on_device {

at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups);

at::Tensor times_row(const at::Tensor& x, const at::Tensor& copies, const RowGroups& groups);

at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums);

at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums);

at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts);

}  // namespace on_device

}  // namespace micrec
