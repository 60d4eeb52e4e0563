#pragma once

#include <cstdint>

namespace micrec {

// Softmax over logits l_ij = scale * <x_i, y_j>, in units of log 2, that are never kept: they pass
// in tiles, so memory is linear in the rows. Every sum over j goes in one order, blocks of 256
// after blocks of 256 and chains of multiply-adds inside, and l_ij has the same bits whichever of
// the two sides asks for it; so what comes out for a row of x depends on that row and on y alone,
// whatever the other rows, the threads and the size of a tile.

/// The rows that logits are wanted for, one after the other.
struct SoftmaxRows {
  const float* data;  // row i is at data + i * stride
  std::int64_t stride;
  std::int64_t count;
  const std::int32_t* own;  // (count) the number j of the row of y that belongs to row i
};

/// The rows of the other side, wherever they lie, in the order of the sums.
struct SoftmaxFactor {
  const float* data;  // row j is at data + place[j] * stride
  std::int64_t stride;
  std::int64_t width;  // of a row of either side
  std::int64_t count;
  const std::int32_t* place;  // (count)
};

/// A tile of the values whose logits are scale * value: the exponential is 2^logit. Rows have room
/// for whole groups of kSoftmaxGroup columns.
struct SoftmaxTile {
  float* values;  // (rows, stride)
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;
  float scale;
};
inline constexpr int kSoftmaxGroup = 16;

/// Sums of exponentials: that of row (or column) n is 2^exponent[n] / inverse[n].
struct SoftmaxNormalisers {
  const float* inverse;
  const float* exponent;
};

/// The sum over j of 2^l_ij as sums[i] * 2^exponents[i], and the row's own logit l_i,own[i].
///
/// Shapes   sums, exponents, own_logits: (x.count), written; 1/3 < sums[i].
/// Ranks    local.
/// Cost     x.count * y.count * width multiply-adds at near the rate of row_product, and x.count *
///          y.count exponentials; the packed factor a few MiB at a time.
void softmax_sums(const SoftmaxRows& x, const SoftmaxFactor& y, float scale, double* sums,
                  float* exponents, float* own_logits);

/// sum_j (2^l_ij / sum of row i + 2^l_ij / sum of row j - 2 [j = own[i]]) y_j: up to a factor the
/// gradient in x_i of the cross entropies of row i and of all rows j, given all their sums.
///
/// Shapes   x_sums: (x.count); y_sums: (y.count), readable up to a multiple of kSoftmaxGroup;
///          gradient: (x.count, width), written.
/// Ranks    local.
/// Cost     2 * x.count * y.count * width multiply-adds, else as softmax_sums.
void softmax_gradient(const SoftmaxRows& x, const SoftmaxFactor& y, float scale,
                      const SoftmaxNormalisers& x_sums, const SoftmaxNormalisers& y_sums,
                      float* gradient);

}  // namespace micrec
