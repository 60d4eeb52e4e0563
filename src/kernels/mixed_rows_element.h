#pragma once

#include <cmath>
#include <cstdint>

#include "base/kernel_inline.h"
#include "kernels/block_dots_warp.h"

// Rows of several sorts, one below the other, each times a number that is looked up for its row,
// and the tables in which these numbers are; on a GPU.
//
//   y_r = sum over sorts m of table^m[index_r] * f^m_r * x^m_r,
//
// f^m_r being 1 / |x^m_r| where rows are divided by their norms, else 1.
namespace micrec {

inline constexpr int kMostSorts = 10;

struct MixedRows {
  const float* x;  // (sorts, rows, width)
  int sorts;
  std::int64_t rows;
  std::int64_t width;
  const std::int32_t* index;        // (rows), -1 where the row of the result is zero
  const float* tables[kMostSorts];  // (entries) of each sort
  const double* squares;            // (sorts, rows) of the norms; null: rows are not divided
  double least_norm;                // shorter ones are divided by this
  float* y;                         // (rows, width)
};

/// What a row of (sorts * rows) is multiplied with before its table's number.
struct RowFactor {
  double factor;
  bool is_inverse_norm;  // else it does not depend on the row's numbers
};

/// n: of (sorts * rows).
MICREC_KERNEL_INLINE RowFactor factor_of_row(const MixedRows& of, std::int64_t n) {
  if (of.squares == nullptr) return {1, false};
  const double norm = sqrt(of.squares[n]);
  if (norm > of.least_norm) return {1 / norm, true};
  return {1 / of.least_norm, false};
}

/// The number that a row finds in the table of a sort.
MICREC_KERNEL_INLINE float number_of_row(const MixedRows& of, std::int64_t sort, std::int64_t row) {
  const std::int32_t entry = of.index[row];
  return entry < 0 ? 0.0F : of.tables[sort][entry];
}

/// A row of the result.
template <typename Warp>
MICREC_KERNEL_INLINE void mix_row(const Warp& warp, const MixedRows& of, std::int64_t row) {
  float* const y = of.y + row * of.width;
  for (int sort = 0; sort < of.sorts; ++sort) {
    const std::int64_t n = sort * of.rows + row;
    const auto factor = static_cast<float>(factor_of_row(of, n).factor);
    const float number = number_of_row(of, sort, row);
    const float* const x = of.x + n * of.width;
    warp.each([&](int lane) {
      for (std::int64_t c = lane; c < of.width; c += kWarpLanes) {
        y[c] = (sort == 0 ? 0.0F : y[c]) + number * (x[c] * factor);
      }
    });
  }
}

/// The way back of a gradient: first `along`, then the rest; both but the tables by a warp a row of
/// (sorts * rows).
struct MixedRowsGradient {
  MixedRows of;           // without y
  const float* gradient;  // (rows, width)
  double* along;          // (sorts, rows) products of the gradient's rows with those of x
  float* of_x;            // as x
  std::int64_t entries;
  float* of_tables;  // (sorts, entries)
};

template <typename Warp>
MICREC_KERNEL_INLINE void along_of_row(const Warp& warp, const MixedRowsGradient& call,
                                       std::int64_t n) {
  const std::int64_t width = call.of.width;
  const double dot =
      dot_of_rows(warp, call.gradient + n % call.of.rows * width, call.of.x + n * width, width);
  warp.each([&](int lane) {
    if (lane == 0) call.along[n] = dot;
  });
}

/// Row n of the gradient in x; `along` of all columns.
template <typename Warp>
MICREC_KERNEL_INLINE void gradient_of_mixed(const Warp& warp, const MixedRowsGradient& call,
                                            std::int64_t n) {
  const std::int64_t width = call.of.width;
  const std::int64_t row = n % call.of.rows;
  const float number = number_of_row(call.of, n / call.of.rows, row);
  const RowFactor by = factor_of_row(call.of, n);
  const double radial = by.is_inverse_norm ? number * call.along[n] * by.factor * by.factor : 0;
  const float* const gradient = call.gradient + row * width;
  const float* const x = call.of.x + n * width;
  float* const of_x = call.of_x + n * width;
  warp.each([&](int lane) {
    for (std::int64_t c = lane; c < width; c += kWarpLanes) {
      const float slope = number * gradient[c];
      of_x[c] = static_cast<float>(by.factor) * (slope - x[c] * static_cast<float>(radial));
    }
  });
}

inline constexpr int kEntryThreads = 1024;  // of a block an entry

/// A thread's share of the gradient in number i of the tables, (sorts, entries); `along` of this
/// rank's columns.
MICREC_KERNEL_INLINE double entry_of_thread(const MixedRowsGradient& call, std::int64_t i,
                                            int thread) {
  const std::int64_t first = i / call.entries * call.of.rows;
  double sum = 0;
  for (std::int64_t row = thread; row < call.of.rows; row += kEntryThreads) {
    if (call.of.index[row] != i % call.entries) continue;
    sum += call.along[first + row] * factor_of_row(call.of, first + row).factor;
  }
  return sum;
}

/// The tables of modalities: of every group and every set of modalities its gain times the share of
/// a modality in the set, shares being the softmax of `logits` over the set.
struct ModalityTables {
  const float* logits;  // (sorts)
  const float* gains;   // (groups), or null: all 1
  int sorts;
  std::int64_t groups;
  float* tables;  // (sorts, groups, 2^sorts)

  MICREC_SHARED_INLINE std::int64_t entries() const { return groups << sorts; }
  MICREC_KERNEL_INLINE double gain(std::int64_t group) const {
    return gains == nullptr ? 1.0 : static_cast<double>(gains[group]);
  }
};

/// Of each modality its weight in the softmax of any set.
struct ModalityWeights {
  double of[kMostSorts];

  MICREC_KERNEL_INLINE explicit ModalityWeights(const ModalityTables& call) {
    float largest = call.logits[0];
    for (int m = 1; m < call.sorts; ++m) largest = fmaxf(largest, call.logits[m]);
    for (int m = 0; m < call.sorts; ++m) {
      of[m] = exp(static_cast<double>(call.logits[m]) - static_cast<double>(largest));
    }
  }
  /// 1 / the sum of those in a set.
  MICREC_KERNEL_INLINE double inverse_sum(std::int64_t set, int sorts) const {
    double sum = 0;
    for (int m = 0; m < sorts; ++m) sum += (set >> m & 1) != 0 ? of[m] : 0.0;
    return sum > 1e-30 ? 1 / sum : 1e30;
  }
};

/// Entry i of all tables.
MICREC_KERNEL_INLINE void fill_tables(const ModalityTables& call, std::int64_t i) {
  const ModalityWeights weights(call);
  const std::int64_t set = i & ((std::int64_t{1} << call.sorts) - 1);
  const double factor = call.gain(i >> call.sorts) * weights.inverse_sum(set, call.sorts);
  for (int m = 0; m < call.sorts; ++m) {
    call.tables[m * call.entries() + i] =
        (set >> m & 1) != 0 ? static_cast<float>(weights.of[m] * factor) : 0.0F;
  }
}

struct ModalityTablesGradient {
  ModalityTables of;
  const float* slopes[kMostSorts];  // (groups * 2^sorts) of each table
  float* of_logits;                 // (sorts)
  float* of_gains;                  // (groups) or null
};

/// Number i of both gradients, the logits' first.
MICREC_KERNEL_INLINE void gradient_of_tables(const ModalityTablesGradient& call, std::int64_t i) {
  const ModalityTables& of = call.of;
  const ModalityWeights weights(of);
  const bool is_logit = i < of.sorts;
  const std::int64_t begin = is_logit ? 0 : i - of.sorts;
  const std::int64_t end = is_logit ? of.groups : begin + 1;
  double result = 0;
  for (std::int64_t group = begin; group < end; ++group) {
    for (std::int64_t set = 1; set < std::int64_t{1} << of.sorts; ++set) {
      if (is_logit && (set >> i & 1) == 0) continue;
      const double inverse = weights.inverse_sum(set, of.sorts);
      const std::int64_t entry = (group << of.sorts) + set;
      double mean = 0;  // of the slopes, by the shares
      for (int m = 0; m < of.sorts; ++m) {
        if ((set >> m & 1) != 0) mean += weights.of[m] * inverse * call.slopes[m][entry];
      }
      result += is_logit ? of.gain(group) * weights.of[i] * inverse * (call.slopes[i][entry] - mean)
                         : mean;
    }
  }
  (is_logit ? call.of_logits[i] : call.of_gains[i - of.sorts]) = static_cast<float>(result);
}

}  // namespace micrec
