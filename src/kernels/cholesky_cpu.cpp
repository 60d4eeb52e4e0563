// The loops of cholesky.h. A number of the factor is one chain of fused multiply-adds over rising
// columns, whatever the tiles: where the processor has them, by compiling with contraction;
// elsewhere by the C library's exact function, so that the bits are the same.
#include <cstdint>

#include "kernels/cholesky.h"
#include "kernels/dispatch.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

using Lanes = Vector<kLanes>;

constexpr int kTile = kSystemStep;  // rows and columns of the factor computed at a time
// Columns of a tile whose sums stay in registers at a time: 16 of 32, or 8 of 16.
constexpr int kTilePart = kLanes == 16 ? kTile : 2;
constexpr std::int64_t kBlock = 32;  // columns after which all rows below are brought up to date
constexpr std::int64_t kGroup = 8;   // rows that read a tile of the block while it is in cache

MICREC_INLINE Lanes minus_product(Lanes sum, Lanes a, Lanes b) {
#if defined(__FMA__)
  return sum - a * b;
#else
  for (int lane = 0; lane < kLanes; ++lane) {
    sum[lane] = __builtin_fmaf(-a[lane], b[lane], sum[lane]);
  }
  return sum;
#endif
}

// 1 / sqrt(pivot); a pivot that is not positive makes its lane's numbers NaN from here on.
MICREC_INLINE Lanes inverse_root(Lanes pivot) {
  const Lanes not_a_number = Lanes{} + __builtin_nanf("");
  const Lanes positive = pivot > 0 ? pivot : not_a_number;
  Lanes root;
  for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(positive[lane]);
  return 1 / root;
}

// A row of the lower triangle; row n is the right side, which the same steps take forward.
MICREC_INLINE float* row_of(const PositiveSystems& systems, std::int64_t row) {
  if (row == systems.n) return systems.right;
  return systems.matrix + triangle_place(row, 0) * kSystemLanes;
}

// Numbers of some rows of the factor, in kTile columns from `column` on.
struct Tile {
  float* rows[kTile];
  const float* pivot[kTile];  // the rows that have the diagonal in those columns
  std::int64_t column;
};

// Takes the products over columns [begin, end) off `columns` of the tile's columns, from its column
// `first` on. A tile on the diagonal has nothing right of it.
template <int rows, int first, int columns, bool on_diagonal>
MICREC_INLINE void subtract_products(const Tile& tile, int lane, std::int64_t begin,
                                     std::int64_t end) {
  constexpr auto kIsThere = [](int r, int c) { return !on_diagonal || first + c <= r; };
  Lanes sums[rows][columns];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < columns; ++c) {
      if (!kIsThere(r, c)) continue;
      sums[r][c] = load<kLanes>(tile.rows[r] + (tile.column + first + c) * kSystemLanes + lane);
    }
  }
  for (std::int64_t k = begin; k < end; ++k) {
    const std::int64_t at = k * kSystemLanes + lane;
    Lanes factor[columns];
#pragma GCC unroll 4
    for (int c = 0; c < columns; ++c) factor[c] = load<kLanes>(tile.pivot[first + c] + at);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const Lanes value = load<kLanes>(tile.rows[r] + at);
#pragma GCC unroll 4
      for (int c = 0; c < columns; ++c) {
        if (kIsThere(r, c)) sums[r][c] = minus_product(sums[r][c], value, factor[c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < columns; ++c) {
      if (!kIsThere(r, c)) continue;
      store<kLanes>(tile.rows[r] + (tile.column + first + c) * kSystemLanes + lane, sums[r][c]);
    }
  }
}

// The number of `row` in the tile's column c, less the products over the tile's columns before.
template <int c>
MICREC_INLINE Lanes reduced(const Tile& tile, const float* row, std::int64_t at) {
  Lanes sum = load<kLanes>(row + at + c * kSystemLanes);
#pragma GCC unroll 4
  for (int k = 0; k < c; ++k) {
    sum = minus_product(sum, load<kLanes>(row + at + k * kSystemLanes),
                        load<kLanes>(tile.pivot[c] + at + k * kSystemLanes));
  }
  return sum;
}

// What the tile's column c, and those before it, do to it: the last step of all.
template <int rows, bool on_diagonal, int c>
MICREC_INLINE void finish_column(const Tile& tile, int lane) {
  const std::int64_t at = tile.column * kSystemLanes + lane;
  Lanes inverse;
  if constexpr (on_diagonal) {
    inverse = inverse_root(reduced<c>(tile, tile.rows[c], at));
    store<kLanes>(tile.rows[c] + at + c * kSystemLanes, inverse);
  } else {
    inverse = load<kLanes>(tile.pivot[c] + at + c * kSystemLanes);
  }
#pragma GCC unroll 4
  for (int r = on_diagonal ? c + 1 : 0; r < rows; ++r) {
    const Lanes number = reduced<c>(tile, tile.rows[r], at) * inverse;
    store<kLanes>(tile.rows[r] + at + c * kSystemLanes, number);
  }
}

template <int rows, bool on_diagonal>
MICREC_INLINE void take_tile(const Tile& tile, std::int64_t begin, std::int64_t end, bool is_last) {
#pragma GCC unroll 4
  for (int lane = 0; lane < kSystemLanes; lane += kLanes) {
    subtract_products<rows, 0, kTilePart, on_diagonal>(tile, lane, begin, end);
    if constexpr (kTilePart < kTile) {
      subtract_products<rows, kTilePart, kTilePart, on_diagonal>(tile, lane, begin, end);
    }
    if (!is_last) continue;
    finish_column<rows, on_diagonal, 0>(tile, lane);
    finish_column<rows, on_diagonal, 1>(tile, lane);
    finish_column<rows, on_diagonal, 2>(tile, lane);
    finish_column<rows, on_diagonal, 3>(tile, lane);
  }
}

// Brings the tile at (row, column) up to date with columns [begin, end).
void update_tile(const PositiveSystems& systems, std::int64_t row, std::int64_t column,
                 std::int64_t begin, std::int64_t end) {
  Tile tile;
  tile.column = column;
  for (int i = 0; i < kTile; ++i) tile.pivot[i] = row_of(systems, column + i);
  const bool is_last = column < end;
  if (column < end) end = column;
  if (row == systems.n) {
    tile.rows[0] = systems.right;
    take_tile<1, false>(tile, begin, end, is_last);
    return;
  }
  for (int i = 0; i < kTile; ++i) tile.rows[i] = row_of(systems, row + i);
  if (row == column) {
    take_tile<kTile, true>(tile, begin, end, is_last);
  } else {
    take_tile<kTile, false>(tile, begin, end, is_last);
  }
}

// From the factor and L y = r, which the right side has become, x of L' x = y.
void solve_backward(const PositiveSystems& systems) {
  for (std::int64_t row = systems.n - kTile; row >= 0; row -= kTile) {
    const float* factor[kTile];
    for (int i = 0; i < kTile; ++i) factor[i] = row_of(systems, row + i);
    for (int lane = 0; lane < kSystemLanes; lane += kLanes) {
      float* const right = systems.right + lane;
      Lanes x[kTile];
#pragma GCC unroll 4
      for (int i = kTile - 1; i >= 0; --i) {
        Lanes sum = load<kLanes>(right + (row + i) * kSystemLanes);
#pragma GCC unroll 4
        for (int k = kTile - 1; k > i; --k) {
          sum = minus_product(sum, load<kLanes>(factor[k] + (row + i) * kSystemLanes + lane), x[k]);
        }
        x[i] = sum * load<kLanes>(factor[i] + (row + i) * kSystemLanes + lane);
        store<kLanes>(right + (row + i) * kSystemLanes, x[i]);
      }
      for (std::int64_t column = 0; column < row; ++column) {
        const std::int64_t at = column * kSystemLanes;
        Lanes sum = load<kLanes>(right + at);
#pragma GCC unroll 4
        for (int k = kTile - 1; k >= 0; --k) {
          sum = minus_product(sum, load<kLanes>(factor[k] + at + lane), x[k]);
        }
        store<kLanes>(right + at, sum);
      }
    }
  }
}

MICREC_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

}  // namespace

void solve_positive(const PositiveSystems& systems) {
  const std::int64_t n = systems.n;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t end = smaller(begin + kBlock, n);
    for (std::int64_t row = begin; row < n; row += kGroup) {
      const std::int64_t last = smaller(row + kGroup, n);
      for (std::int64_t column = begin; column < last; column += kTile) {
        for (std::int64_t r = column > row ? column : row; r < last; r += kTile) {
          update_tile(systems, r, column, begin, end);
        }
      }
    }
    for (std::int64_t column = begin; column < n; column += kTile) {
      update_tile(systems, n, column, begin, end);
    }
  }
  solve_backward(systems);
}

// Blocks of 4 numbers of 4 matrices, turned in registers.
void interleave(const SystemMatrices& matrices) {
  for (std::int64_t row = 0; row < matrices.n; ++row) {
    float* const to = matrices.to + triangle_place(row, 0) * kSystemLanes;
    std::int64_t column = 0;
    for (; column + 4 <= row + 1; column += 4) {
      const std::int64_t from = row * matrices.n + column;
#pragma GCC unroll 4
      for (int lane = 0; lane < kSystemLanes; lane += 4) {
        const Vector<4> a = load<4>(matrices.matrix[lane] + from);
        const Vector<4> b = load<4>(matrices.matrix[lane + 1] + from);
        const Vector<4> c = load<4>(matrices.matrix[lane + 2] + from);
        const Vector<4> d = load<4>(matrices.matrix[lane + 3] + from);
        const Vector<4> ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const Vector<4> ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const Vector<4> cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const Vector<4> cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float* const place = to + column * kSystemLanes + lane;
        store<4>(place, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
        store<4>(place + kSystemLanes, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
        store<4>(place + 2 * kSystemLanes, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
        store<4>(place + 3 * kSystemLanes, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
      }
    }
    for (; column <= row; ++column) {
      for (int lane = 0; lane < kSystemLanes; ++lane) {
        to[column * kSystemLanes + lane] = matrices.matrix[lane][row * matrices.n + column];
      }
    }
  }
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
