#pragma once

#include <cmath>
#include <cstdint>

#include "base/ids.h"
#include "base/kernel_inline.h"
#include "kernels/cholesky.h"
#include "kernels/item_system_element.h"
#include "kernels/neighbour_sum_warp.h"

// The systems of item regression on a GPU, with the bits of the CPU: the product of two rows of
// features is one chain of fused multiply-adds over the columns (scores.h), a number of the system
// is made as item_system_element.h says, a number of the factor is one chain of fused multiply-adds
// over rising columns and one of the solution over falling rows (cholesky_cpu.cpp).
//
// A block of threads, as count_ahead_block.h says, takes the features of an item or its system for
// one setting.
namespace micrec {

inline constexpr int kMostUnknowns = 100;     // of a system
inline constexpr int kSystemThreads = 128;    // of a block
inline constexpr int kAlikeColumns = 32;      // of feature rows that a block holds at a time
inline constexpr int kAlikeSide = 8;          // a thread multiplies so many rows with so many
inline constexpr int kSystemRowThreads = 16;  // that take a row of a system side by side

/// The systems of some items without their features, one piece of memory of the host or of a GPU.
struct PackedSystems {
  std::int64_t items = 0;
  std::int64_t neighbours = 0;  // of all items
  std::int64_t products = 0;    // of each two of an item's neighbours, of all items

  std::int64_t* first_neighbour = nullptr;  // (items + 1)
  std::int64_t* first_product = nullptr;    // (items + 1)
  float* together = nullptr;                // (products) of columns: lower triangles, as cholesky.h
  float* right_together = nullptr;          // (neighbours) of their columns with the item's
  float* cross = nullptr;                   // (neighbours) 1, or the weight of other domains
  std::int32_t* rows = nullptr;             // (neighbours) of their features
  std::uint32_t* held = nullptr;            // (items) a bit for each modality that the item has

  std::int64_t bytes() const {
    return 2 * (items + 1) * std::int64_t{sizeof(std::int64_t)} +
           (products + 2 * neighbours) * std::int64_t{sizeof(float)} +
           (neighbours + items) * std::int64_t{sizeof(std::int32_t)};
  }
  /// They lie from `begin` on, which is a multiple of 8.
  void lie_at(void* begin) {
    first_neighbour = static_cast<std::int64_t*>(begin);
    first_product = first_neighbour + items + 1;
    together = reinterpret_cast<float*>(first_product + items + 1);
    right_together = together + products;
    cross = right_together + neighbours;
    rows = reinterpret_cast<std::int32_t*>(cross + neighbours);
    held = reinterpret_cast<std::uint32_t*>(rows + neighbours);
  }
};

/// All pointers are the GPU's.
struct ItemSystemsCall {
  PackedSystems of;
  const Range* columns = nullptr;  // (modalities) of the feature rows
  std::int64_t modalities = 0;
  std::int64_t width = 0;
  const float* features = nullptr;      // (rows, width) of neighbours
  const float* own_features = nullptr;  // (items, width)
  const float* settings = nullptr;      // (settings, 1 + modalities) lambda, squares of the alphas
  std::int64_t setting_count = 0;

  float* alike = nullptr;        // (modalities, products) as PackedSystems::together, of features
  float* right_alike = nullptr;  // (modalities, neighbours)
  float* solution = nullptr;     // (settings, neighbours)
};

MICREC_KERNEL_INLINE int neighbours_of(const ItemSystemsCall& call, std::int64_t item) {
  return static_cast<int>(call.of.first_neighbour[item + 1] - call.of.first_neighbour[item]);
}

// The products of an item's features: of the neighbours' rows, and of the item's own, which is the
// last.

inline constexpr int kAlikeSides = (kMostUnknowns + kAlikeSide) / kAlikeSide;
inline constexpr int kAlikeRows = kAlikeSides * kAlikeSide;
static_assert(kAlikeRows > kMostUnknowns && triangle_place(kAlikeSides, 0) <= kSystemThreads);

/// What the threads of a block share.
struct AlikeTile {
  alignas(16) float rows[kAlikeColumns][kAlikeRows + 4];  // filled up as RankTile
};

/// What a thread multiplies: rows from `row` on with those from `column` on.
struct AlikeShare {
  int row, column;
  float sums[kAlikeSide][kAlikeSide];
};

MICREC_KERNEL_INLINE void begin_share(int thread, AlikeShare& share) {
  int side = 0;
  while (triangle_place(side + 1, 0) <= thread) ++side;
  share.row = side * kAlikeSide;
  share.column = (thread - static_cast<int>(triangle_place(side, 0))) * kAlikeSide;
  MICREC_UNROLL
  for (int r = 0; r < kAlikeSide; ++r) {
    MICREC_UNROLL
    for (int c = 0; c < kAlikeSide; ++c) share.sums[r][c] = 0;
  }
}

/// The columns from `first` on of the rows; zeros in rows that are not there.
MICREC_KERNEL_INLINE void load_features(const ItemSystemsCall& call, AlikeTile& tile,
                                        std::int64_t item, std::int64_t first, int count,
                                        int thread) {
  const int neighbours = neighbours_of(call, item);
  const std::int32_t* const rows = call.of.rows + call.of.first_neighbour[item];
  constexpr int kRowsAtATime = kSystemThreads / kAlikeColumns;
  constexpr int kReads = 13;  // under way before the first is written
  static_assert(kSystemThreads % kAlikeColumns == 0 && kAlikeRows % (kRowsAtATime * kReads) == 0);
  const int k = thread % kAlikeColumns;
  if (k >= count) return;
  for (int from = thread / kAlikeColumns; from < kAlikeRows; from += kRowsAtATime * kReads) {
    float numbers[kReads];
    MICREC_UNROLL
    for (int n = 0; n < kReads; ++n) {
      const int row = from + n * kRowsAtATime;
      numbers[n] = 0;
      if (row < neighbours) {
        numbers[n] = call.features[rows[row] * call.width + first + k];
      } else if (row == neighbours) {
        numbers[n] = call.own_features[item * call.width + first + k];
      }
    }
    MICREC_UNROLL
    for (int n = 0; n < kReads; ++n) tile.rows[k][from + n * kRowsAtATime] = numbers[n];
  }
}

MICREC_KERNEL_INLINE void multiply_features(const AlikeTile& tile, int count, AlikeShare& share) {
  if (share.row >= kAlikeRows) return;
  for (int k = 0; k < count; ++k) {
    float x[kAlikeSide], y[kAlikeSide];
    MICREC_UNROLL
    for (int i = 0; i < kAlikeSide; ++i) {
      x[i] = tile.rows[k][share.row + i];
      y[i] = tile.rows[k][share.column + i];
    }
    MICREC_UNROLL
    for (int r = 0; r < kAlikeSide; ++r) {
      MICREC_UNROLL
      for (int c = 0; c < kAlikeSide; ++c) {
        share.sums[r][c] = fmaf(x[r], y[c], share.sums[r][c]);
      }
    }
  }
}

MICREC_KERNEL_INLINE void write_alike(const ItemSystemsCall& call, std::int64_t item,
                                      std::int64_t modality, const AlikeShare& share) {
  const int neighbours = neighbours_of(call, item);
  float* const alike = call.alike + modality * call.of.products + call.of.first_product[item];
  float* const right =
      call.right_alike + modality * call.of.neighbours + call.of.first_neighbour[item];
  MICREC_UNROLL
  for (int r = 0; r < kAlikeSide; ++r) {
    MICREC_UNROLL
    for (int c = 0; c < kAlikeSide; ++c) {
      const int row = share.row + r;
      const int column = share.column + c;
      if (column > row || column >= neighbours) continue;
      if (row < neighbours) alike[triangle_place(row, column)] = share.sums[r][c];
      if (row == neighbours) right[column] = share.sums[r][c];
    }
  }
}

/// A task is one of the items, of each modality or setting in turn.
struct ItemTask {
  std::int64_t item, round;  // which modality or setting
};
MICREC_KERNEL_INLINE ItemTask item_task(const ItemSystemsCall& call, std::int64_t task) {
  return {task % call.of.items, task / call.of.items};
}

inline std::int64_t alike_tasks(const ItemSystemsCall& call) {
  return call.of.items * call.modalities;
}

/// The products of one modality of an item; zeros where it lacks that.
template <typename Block>
MICREC_KERNEL_INLINE void alike_task(const Block& block, const ItemSystemsCall& call,
                                     AlikeTile& tile, std::int64_t task) {
  const ItemTask at = item_task(call, task);
  if (neighbours_of(call, at.item) == 0) return;
  const Range columns = call.columns[at.round];
  typename Block::template Threads<AlikeShare> shares;
  block.each([&](int thread) { begin_share(thread, shares[thread]); });
  const std::int64_t end =
      (call.of.held[at.item] >> at.round & 1) != 0 ? columns.end : columns.begin;
  for (std::int64_t first = columns.begin; first < end; first += kAlikeColumns) {
    const std::int64_t left = columns.end - first;
    const int count = static_cast<int>(left < kAlikeColumns ? left : kAlikeColumns);
    block.each([&](int thread) { load_features(call, tile, at.item, first, count, thread); });
    block.each([&](int thread) { multiply_features(tile, count, shares[thread]); });
  }
  block.each([&](int thread) { write_alike(call, at.item, at.round, shares[thread]); });
}

// The system of an item for one setting.

/// What the threads of a block share.
struct SystemSpace {
  // The lower triangle; below it, as one row more, the right side.
  float numbers[triangle_place(kMostUnknowns + 1, 0)];
  float column[kMostUnknowns + 1];  // of the factor: the one that is taken off the others
  float inverse[kMostUnknowns];     // 1 / L_ii
  float keep[kMostUnknowns];
};

/// A thread's part of the right side, and of who stays.
MICREC_KERNEL_INLINE void make_right_side(const ItemSystemsCall& call, SystemSpace& space,
                                          std::int64_t item, const float* alphas, int thread) {
  const int n = neighbours_of(call, item);
  for (int i = thread; i < n; i += kSystemThreads) {
    const std::int64_t at = call.of.first_neighbour[item] + i;
    float right = call.of.right_together[at];
    for (std::int64_t m = 0; m < call.modalities; ++m) {
      right = with_features(right, alphas[m], call.right_alike[m * call.of.neighbours + at]);
    }
    space.keep[i] = keep_of(right, call.of.cross[at]);
    space.numbers[triangle_place(n, i)] = right * space.keep[i];
  }
}

/// A thread's part of the matrix.
MICREC_KERNEL_INLINE void make_matrix(const ItemSystemsCall& call, SystemSpace& space,
                                      std::int64_t item, float lambda, const float* alphas,
                                      int thread) {
  const auto numbers = static_cast<int>(triangle_place(neighbours_of(call, item), 0));
  int row = 0;
  for (int e = thread; e < numbers; e += kSystemThreads) {
    while (triangle_place(row + 1, 0) <= e) ++row;
    const int column = e - static_cast<int>(triangle_place(row, 0));
    const std::int64_t at = call.of.first_product[item] + e;
    float product = call.of.together[at];
    for (std::int64_t m = 0; m < call.modalities; ++m) {
      product = with_features(product, alphas[m], call.alike[m * call.of.products + at]);
    }
    float number = matrix_number(product, space.keep[row], space.keep[column]);
    if (column == row) number = on_diagonal(number, space.keep[row], lambda);
    space.numbers[e] = number;
  }
}

/// Column k of the factor, and y_k of L y = r; a pivot that is not positive makes them NaN.
MICREC_KERNEL_INLINE void finish_column(SystemSpace& space, int n, int k, int thread) {
  const float pivot = space.numbers[triangle_place(k, k)];
  const float inverse = 1 / sqrtf(pivot > 0 ? pivot : NAN);
  if (thread == 0) space.inverse[k] = inverse;
  for (int row = k + 1 + thread; row <= n; row += kSystemThreads) {
    float& number = space.numbers[triangle_place(row, k)];
    number *= inverse;
    space.column[row] = number;
  }
}

/// Takes the products with column k off what is right of it.
MICREC_KERNEL_INLINE void take_off_column(SystemSpace& space, int n, int k, int thread) {
  constexpr int kRows = kSystemThreads / kSystemRowThreads;
  for (int row = k + 1 + thread / kSystemRowThreads; row <= n; row += kRows) {
    float* const numbers = space.numbers + triangle_place(row, 0);
    const float factor = space.column[row];
    const int last = row < n ? row : n - 1;
    for (int c = k + 1 + thread % kSystemRowThreads; c <= last; c += kSystemRowThreads) {
      numbers[c] = fmaf(-factor, space.column[c], numbers[c]);
    }
  }
}

inline std::int64_t system_tasks(const ItemSystemsCall& call) {
  return call.of.items * call.setting_count;
}

template <typename Block>
MICREC_KERNEL_INLINE void system_task(const Block& block, const ItemSystemsCall& call,
                                      SystemSpace& space, std::int64_t task) {
  const ItemTask at = item_task(call, task);
  const float* const lambda = call.settings + at.round * (1 + call.modalities);
  const float* const alphas = lambda + 1;
  const int n = neighbours_of(call, at.item);
  block.each([&](int thread) { make_right_side(call, space, at.item, alphas, thread); });
  block.each([&](int thread) { make_matrix(call, space, at.item, *lambda, alphas, thread); });
  for (int k = 0; k < n; ++k) {
    block.each([&](int thread) { finish_column(space, n, k, thread); });
    block.each([&](int thread) { take_off_column(space, n, k, thread); });
  }
  float* const right = space.numbers + triangle_place(n, 0);  // y, of which L' x = y
  float* const solution =
      call.solution + at.round * call.of.neighbours + call.of.first_neighbour[at.item];
  for (int row = n - 1; row >= 0; --row) {
    block.each([&](int thread) {
      const float x = right[row] * space.inverse[row];
      if (thread == 0) solution[row] = x;
      for (int c = thread; c < row; c += kSystemThreads) {
        right[c] = fmaf(-space.numbers[triangle_place(row, c)], x, right[c]);
      }
    });
  }
}

}  // namespace micrec
