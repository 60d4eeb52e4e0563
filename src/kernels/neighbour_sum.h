#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "kernels/neighbour_sum_row.h"
#include "kernels/pattern.h"
#include "kernels/row_set.h"
#include "kernels/upload.h"

namespace micrec {

/// Drops nonzeros of an operator at random and scales the kept ones by 1 / (1 - probability). The
/// decision for the nonzero (row, column) is a hash of the seed and the two global numbers, so
/// nothing is stored and every rank decides alike.
struct EdgeDropout {
  float probability = 0;   // in [0, 1)
  std::uint32_t seed = 0;  // a new one every step
  /// The operator is the transpose of the one that decided: nonzero (r, c) here was (c, r) there.
  bool transposed = false;
};

/// What of keeps_edge does not depend on the edge.
constexpr std::uint32_t dropout_key(std::uint32_t seed) { return mix(seed ^ 0x9e3779b9U); }
constexpr std::uint32_t dropout_threshold(float probability) {
  return static_cast<std::uint32_t>(static_cast<double>(probability) * 4294967296.0);
}

/// Whether dropout keeps the nonzero at global (row, column); also for nonzeros that no pattern
/// stores, such as a token's, under a column number of their own. probability in [0, 1).
constexpr bool keeps_edge(std::uint32_t seed, float probability, std::int32_t row,
                          std::int32_t column) {
  return edge_hash(dropout_key(seed), static_cast<std::uint32_t>(row),
                   static_cast<std::uint32_t>(column)) >= dropout_threshold(probability);
}

/// Diagonal weights around a pattern; an undefined tensor means ones.
struct Scaling {
  at::Tensor row;     // (rows) float32; where it is zero, no neighbour is read
  at::Tensor column;  // (local rows of the factor) float32
  /// The neighbour's row is not read either where the column weight is zero. Pays when many are;
  /// when few are, false is faster (and the rows must then hold finite numbers).
  bool skip_zero_columns = true;
};

/// The step y = factor * (product + scale * addend) of a polynomial in the operator (Horner's
/// rule), in the same pass.
struct Horner {
  /// (rows of the pattern, dim), (addend_rows->size(), dim) or, with addend_of, any rows;
  /// undefined: zero
  at::Tensor addend;
  at::Tensor scale;  // (rows of the pattern) float32, undefined: ones
  /// The rows that the compact addend holds; it is zero elsewhere.
  const RowSet* addend_rows = nullptr;
  float factor = 1;
  /// (rows of the pattern) int32: the row of the addend that each is given; undefined: its own. Not
  /// beside addend_rows.
  at::Tensor addend_of = {};
};

/// What a neighbour sum does beside adding rows; every default means "nothing".
struct SumOptions {
  Scaling scaling;
  EdgeDropout dropout;
  /// Global numbers of the local rows, for dropout; nullptr where local and global numbers are the
  /// same. Row r of the pattern is local row r.
  const std::vector<GlobalNode>* local_to_global = nullptr;
  /// The rows wanted, rising; the result has only these. nullptr: all.
  const RowList* rows = nullptr;
  /// Only the rows of the pattern that are stored in this range are computed, each as its row of
  /// `out`; its begin is a multiple of kRangeStep. For neighbour_sum_into without dropout and
  /// `rows`; nullopt: all.
  std::optional<Range> range;
  /// Called now and then by the calling thread while it works, to keep an exchange moving.
  std::function<void()> meanwhile;
  at::Tensor edge_weights;  // (nonzeros) float32, in the order of the pattern
  /// The columns that are not known to be zero; the factor then has only these rows, in rising
  /// order.
  const RowSet* active_columns = nullptr;
  Horner horner;
};

inline constexpr std::int64_t kRangeStep = 64;

/// Sums, for every requested row, the rows of its neighbours:
/// y_r = factor * (a_r / (1 - p) * sum_{c in N(r), kept} b_c * w_rc * x_c + scale_r * addend_r).
///
/// The bits of a row depend on its neighbours in their order and on their values alone: not on the
/// place at which the pattern stores it, on the number of threads, on which rank owns the row, on
/// the other rows requested, nor on the processor's instruction set or whether it is a GPU.
///
/// On a GPU all tensors are there, compute_threads() means nothing, and the pattern, whose rows
/// must be stored rising, is copied there when it is first used; x and out may also be bfloat16,
/// and are added up as float32 all the same.
///
/// Shapes   x: (local rows, dim) float32, dim >= 1; returns (rows, dim) of x's type.
/// Ranks    local; halo rows of x must have arrived.
/// Errors   CHECK on shapes.
/// Cost     4 bytes an edge and 4 * dim bytes a neighbour read, once; one writer a row; no atomics.
/// Source   LightGCN (He et al. 2020, arXiv:2002.02126), equation 3, with the weights as diagonal
///          scalings.
at::Tensor neighbour_sum(const Pattern& pattern, const at::Tensor& x, const SumOptions& options);

/// As above, but into the first rows of `out`, which may have more (room for a halo) and must not
/// be x or the addend.
void neighbour_sum_into(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                        const SumOptions& options);

}  // namespace micrec
