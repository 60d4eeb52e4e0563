#pragma once

#include <cstdint>

#include "base/kernel_inline.h"
#include "base/random.h"
#include "kernels/kernels.h"

// The sum of a row of neighbour_sum by a warp: the lanes look at neighbours side by side, decide
// which remain, and then each adds its own columns of those that do, one neighbour after the other.
// So every number is added up in the order of the row, and has the bits that the kernels for the
// CPU give it.
//
// `Warp` says what lanes are: on a GPU each lane runs the code for itself, in tests a loop runs it
// for all. It has:
//   Warp::Lanes<T>        a T a lane, [lane] of which the code of that lane may use
//   warp.each(f)          f(lane) for every lane that runs this code
//   warp.ballot(flags)    the lanes whose flag holds, as bits
//   warp.pick(values, l)  lane l's value, known to all
namespace micrec {

inline constexpr int kWarpLanes = 32;

/// A number of x as it is stored.
using Bfloat16Bits = std::uint16_t;

MICREC_KERNEL_INLINE float as_float(float stored) { return stored; }
MICREC_KERNEL_INLINE float as_float(Bfloat16Bits stored) {
  const std::uint32_t bits = static_cast<std::uint32_t>(stored) << 16;
  float value;
  static_assert(sizeof value == sizeof bits);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

MICREC_KERNEL_INLINE void store_as(float value, float* to) { *to = value; }
/// Rounds to the nearest, ties to even; a NaN stays one.
MICREC_KERNEL_INLINE void store_as(float value, Bfloat16Bits* to) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  if (value != value) {
    *to = static_cast<Bfloat16Bits>(bits >> 16 | 0x40U);
  } else {
    *to = static_cast<Bfloat16Bits>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
  }
}

/// `width` numbers that one lane reads in one go, where their place in memory allows.
template <typename Stored, int width>
struct alignas(sizeof(Stored) * width) Pack {
  Stored values[width];
};

/// A call of neighbour_sum whose pointers are those of the device, and what SumWork does not say.
template <typename Stored>
struct RowSumWork {
  SumWork common;   // its x and out are not used
  const Stored* x;  // (factor rows, dim)
  void* out;        // (output rows, dim)
  bool out_is_bfloat16;
};

/// A piece of a hub: nonzeros [begin, end) of a row of the output.
struct HubPiece {
  std::int64_t output_row;
  std::int64_t begin;
  std::int64_t end;
};

/// A row of the output that is a hub: its pieces are `pieces` from `first_piece` on.
struct Hub {
  std::int64_t output_row;
  std::int64_t first_piece;
  std::int64_t pieces;
};

/// The hubs among the rows wanted; all in the memory of the device.
struct HubWork {
  const HubPiece* pieces = nullptr;  // (piece_count)
  std::int64_t piece_count = 0;
  const Hub* hubs = nullptr;  // (hub_count)
  std::int64_t hub_count = 0;
  float* partials = nullptr;  // (piece_count, dim)
};

/// A neighbour that a lane has looked at.
struct Neighbour {
  std::int32_t row;  // of x
  float weight;
};

MICREC_KERNEL_INLINE int bits_below(std::uint64_t bits, int position) {
  const std::uint64_t below = bits & ((std::uint64_t{1} << position) - 1);
#ifdef __CUDA_ARCH__
  return __popcll(below);
#else
  return __builtin_popcountll(below);
#endif
}

MICREC_KERNEL_INLINE int lowest_bit(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(bits)) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

/// Whether the i-th nonzero, of `row`, takes part, and with what.
MICREC_KERNEL_INLINE bool look_at(const SumWork& work, std::int64_t row, std::int64_t i,
                                  Neighbour& neighbour) {
  const std::int32_t column = work.columns[i];
  if (work.has_dropout) {
    const auto own = static_cast<std::uint32_t>(
        work.global_numbers ? work.global_numbers[row] : static_cast<std::int32_t>(row));
    const auto other =
        static_cast<std::uint32_t>(work.global_numbers ? work.global_numbers[column] : column);
    const std::uint32_t hash = work.transposed_dropout ? mix(mix(work.dropout_key + other) ^ own)
                                                       : mix(mix(work.dropout_key + own) ^ other);
    if (hash < work.dropout_threshold) return false;
  }
  neighbour.row = column;
  if (work.active_columns) {
    const RowSet::Word& word = work.active_columns[column >> 6];
    if (!(word.bits >> (column & 63) & 1)) return false;
    neighbour.row =
        static_cast<std::int32_t>(word.members_before) + bits_below(word.bits, column & 63);
  }
  neighbour.weight = work.edge_weights ? work.edge_weights[i] : 1.0F;
  if (work.column_scale) {
    const float scale = work.column_scale[column];
    neighbour.weight = work.edge_weights ? scale * neighbour.weight : scale;
    if (scale == 0) return false;
  }
  return true;
}

/// What follows the sum of a row.
struct RowFinish {
  float row_factor;
  const float* addend;  // (dim) or null
  float addend_factor;
  float factor;

  MICREC_KERNEL_INLINE float operator()(float sum, std::int64_t column) const {
    sum *= row_factor;
    if (addend) sum += addend_factor * addend[column];
    return sum * factor;
  }
};

MICREC_KERNEL_INLINE RowFinish finish_of_row(const SumWork& work, std::int64_t row) {
  RowFinish finish{work.kept_scale, nullptr, 1.0F, work.factor};
  if (work.row_scale) finish.row_factor *= work.row_scale[row];
  if (work.addend) {
    if (!work.addend_rows) {
      finish.addend = work.addend + row * work.dim;
    } else {
      const RowSet::Word& word = work.addend_rows[row >> 6];
      if (word.bits >> (row & 63) & 1) {
        const std::int64_t position =
            word.members_before + bits_below(word.bits, static_cast<int>(row & 63));
        finish.addend = work.addend + position * work.dim;
      }
    }
    if (work.addend_scale) finish.addend_factor = work.addend_scale[row];
  }
  return finish;
}

MICREC_KERNEL_INLINE std::int64_t row_of_output(const SumWork& work, std::int64_t output_row) {
  return work.rows ? std::int64_t{work.rows[output_row]} : output_row;
}

/// The sums of the nonzeros [begin, end) of `row`, lane l's columns from `first` + l * width on;
/// columns beyond dim stay zero. `width` divides dim.
template <typename Stored, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_nonzeros(const Warp& warp, const RowSumWork<Stored>& work,
                                       std::int64_t row, std::int64_t begin, std::int64_t end,
                                       std::int64_t first,
                                       typename Warp::template Lanes<Pack<float, width>>& sums) {
  constexpr int kReadsAhead = 8;  // rows of x under way at a time
  const std::int64_t dim = work.common.dim;
  for (std::int64_t base = begin; base < end; base += kWarpLanes) {
    typename Warp::template Lanes<Neighbour> neighbours;
    typename Warp::template Lanes<bool> remains;
    warp.each([&](int lane) {
      Neighbour neighbour{0, 0};
      remains[lane] = base + lane < end && look_at(work.common, row, base + lane, neighbour);
      neighbours[lane] = neighbour;
    });
    std::uint32_t left = warp.ballot(remains);
    while (left != 0) {
      typename Warp::template Lanes<Pack<Stored, width>> read[kReadsAhead];
      float weights[kReadsAhead];
      int count = 0;
      MICREC_UNROLL
      for (int k = 0; k < kReadsAhead; ++k) {
        if (left == 0) break;
        const int lane_of_neighbour = lowest_bit(left);
        left &= left - 1;
        const Neighbour neighbour = warp.pick(neighbours, lane_of_neighbour);
        weights[k] = neighbour.weight;
        warp.each([&](int lane) {
          const std::int64_t column = first + std::int64_t{lane} * width;
          if (column < dim) {
            read[k][lane] = *reinterpret_cast<const Pack<Stored, width>*>(
                work.x + neighbour.row * dim + column);
          }
        });
        count = k + 1;
      }
      MICREC_UNROLL
      for (int k = 0; k < kReadsAhead; ++k) {
        if (k >= count) break;
        warp.each([&](int lane) {
          if (first + std::int64_t{lane} * width >= dim) return;
          MICREC_UNROLL
          for (int v = 0; v < width; ++v) {
            sums[lane].values[v] += weights[k] * as_float(read[k][lane].values[v]);
          }
        });
      }
    }
  }
}

/// An output row, or nothing where it is a hub.
template <typename Stored, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_output_row(const Warp& warp, const RowSumWork<Stored>& work,
                                         std::int64_t output_row) {
  const SumWork& common = work.common;
  const std::int64_t row = row_of_output(common, output_row);
  const std::int64_t begin = common.offsets[row];
  std::int64_t end = common.offsets[row + 1];
  if (end - begin > common.hub_chunk) return;
  if (common.row_scale && common.row_scale[row] == 0) end = begin;
  const RowFinish finish = finish_of_row(common, row);
  for (std::int64_t first = 0; first < common.dim; first += kWarpLanes * width) {
    typename Warp::template Lanes<Pack<float, width>> sums;
    warp.each([&](int lane) { sums[lane] = Pack<float, width>{}; });
    sum_nonzeros<Stored, width>(warp, work, row, begin, end, first, sums);
    warp.each([&](int lane) {
      const std::int64_t column = first + std::int64_t{lane} * width;
      if (column >= common.dim) return;
      const std::int64_t at = output_row * common.dim + column;
      for (int v = 0; v < width; ++v) {
        const float value = finish(sums[lane].values[v], column + v);
        if (work.out_is_bfloat16) {
          store_as(value, static_cast<Bfloat16Bits*>(work.out) + at + v);
        } else {
          store_as(value, static_cast<float*>(work.out) + at + v);
        }
      }
    });
  }
}

/// The sum of a piece, to partial (dim).
template <typename Stored, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_hub_piece(const Warp& warp, const RowSumWork<Stored>& work,
                                        const HubPiece& piece, float* partial) {
  const SumWork& common = work.common;
  const std::int64_t row = row_of_output(common, piece.output_row);
  const bool is_zero = common.row_scale && common.row_scale[row] == 0;
  for (std::int64_t first = 0; first < common.dim; first += kWarpLanes * width) {
    typename Warp::template Lanes<Pack<float, width>> sums;
    warp.each([&](int lane) { sums[lane] = Pack<float, width>{}; });
    sum_nonzeros<Stored, width>(warp, work, row, piece.begin, is_zero ? piece.begin : piece.end,
                                first, sums);
    warp.each([&](int lane) {
      const std::int64_t column = first + std::int64_t{lane} * width;
      if (column >= common.dim) return;
      for (int v = 0; v < width; ++v) partial[column + v] = sums[lane].values[v];
    });
  }
}

/// A warp's share of a call: task t of the pieces of hubs, which come first because they take
/// longest, and then of the output rows.
template <typename Stored, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_task(const Warp& warp, const RowSumWork<Stored>& work,
                                   const HubWork& hubs, std::int64_t task) {
  if (task < hubs.piece_count) {
    sum_hub_piece<Stored, width>(warp, work, hubs.pieces[task],
                                 hubs.partials + task * work.common.dim);
  } else {
    sum_output_row<Stored, width>(warp, work, task - hubs.piece_count);
  }
}

/// A thread's share of what follows: number i of (hub_count, dim) from the sums of its pieces, in
/// their order.
template <typename Stored>
MICREC_KERNEL_INLINE void finish_hub_number(const RowSumWork<Stored>& work, const HubWork& hubs,
                                            std::int64_t i) {
  const std::int64_t dim = work.common.dim;
  const Hub& hub = hubs.hubs[i / dim];
  const std::int64_t column = i % dim;
  const float* const partials = hubs.partials + hub.first_piece * dim + column;
  float sum = partials[0];
  for (std::int64_t p = 1; p < hub.pieces; ++p) sum += partials[p * dim];
  const float value =
      finish_of_row(work.common, row_of_output(work.common, hub.output_row))(sum, column);
  const std::int64_t at = hub.output_row * dim + column;
  if (work.out_is_bfloat16) {
    store_as(value, static_cast<Bfloat16Bits*>(work.out) + at);
  } else {
    store_as(value, static_cast<float*>(work.out) + at);
  }
}

/// Numbers that a lane reads in one go: as many as leave no lane idle, at most 16 bytes.
template <typename Stored>
int pack_width(std::int64_t dim, std::uintptr_t x_address) {
  for (const int width : {4, 2}) {
    const bool is_aligned = x_address % (sizeof(Stored) * width) == 0;
    if (dim % width == 0 && is_aligned && dim >= std::int64_t{kWarpLanes} * width) return width;
  }
  return 1;
}

}  // namespace micrec
