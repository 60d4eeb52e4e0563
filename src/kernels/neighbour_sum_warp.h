#pragma once

#include <cstdint>

#include "base/kernel_inline.h"
#include "kernels/neighbour_sum_row.h"

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
template <typename Number, int width>
struct alignas(sizeof(Number) * width) Pack {
  Number values[width];
};

MICREC_KERNEL_INLINE int lowest_bit(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(bits)) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

MICREC_KERNEL_INLINE int count_bits(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __popc(bits);
#else
  return __builtin_popcount(bits);
#endif
}

/// Adds the first `count` of the neighbours `left`, whose rows of x are all under way before the
/// first is added: without a branch between, so that the reads overlap.
template <typename Number, int width, int count, typename Warp>
MICREC_KERNEL_INLINE void add_neighbours(const Warp& warp, const SumCall& call, std::int64_t first,
                                         const typename Warp::template Lanes<Neighbour>& neighbours,
                                         std::uint32_t& left,
                                         typename Warp::template Lanes<Pack<float, width>>& sums) {
  const auto* const x = static_cast<const Number*>(call.x);
  typename Warp::template Lanes<Pack<Number, width>> read[count];
  float weights[count];
  MICREC_UNROLL
  for (int k = 0; k < count; ++k) {
    const Neighbour neighbour = warp.pick(neighbours, lowest_bit(left));
    left &= left - 1;
    weights[k] = neighbour.weight;
    warp.each([&](int lane) {
      const std::int64_t column = first + std::int64_t{lane} * width;
      if (column < call.dim) {
        read[k][lane] =
            *reinterpret_cast<const Pack<Number, width>*>(x + neighbour.row * call.dim + column);
      }
    });
  }
  MICREC_UNROLL
  for (int k = 0; k < count; ++k) {
    warp.each([&](int lane) {
      if (first + std::int64_t{lane} * width >= call.dim) return;
      MICREC_UNROLL
      for (int v = 0; v < width; ++v) {
        sums[lane].values[v] += weights[k] * as_float(read[k][lane].values[v]);
      }
    });
  }
}

/// The sums of the nonzeros [begin, end) of `row`, lane l's columns from `first` + l * width on;
/// columns beyond dim stay zero. `width` divides dim.
template <typename Number, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_nonzeros(const Warp& warp, const SumCall& call, std::int64_t row,
                                       std::int64_t begin, std::int64_t end, std::int64_t first,
                                       typename Warp::template Lanes<Pack<float, width>>& sums) {
  for (std::int64_t base = begin; base < end; base += kWarpLanes) {
    typename Warp::template Lanes<Neighbour> neighbours;
    typename Warp::template Lanes<bool> remains;
    warp.each([&](int lane) {
      Neighbour neighbour{0, 0};
      remains[lane] = base + lane < end && takes_part(call, row, base + lane, neighbour);
      neighbours[lane] = neighbour;
    });
    std::uint32_t left = warp.ballot(remains);
    const int count = count_bits(left);
    for (int n = 0; n + 8 <= count; n += 8) {
      add_neighbours<Number, width, 8>(warp, call, first, neighbours, left, sums);
    }
    if ((count & 4) != 0) {
      add_neighbours<Number, width, 4>(warp, call, first, neighbours, left, sums);
    }
    if ((count & 2) != 0) {
      add_neighbours<Number, width, 2>(warp, call, first, neighbours, left, sums);
    }
    if ((count & 1) != 0) {
      add_neighbours<Number, width, 1>(warp, call, first, neighbours, left, sums);
    }
  }
}

/// The sums of the nonzeros [begin, end) of `row` as use(column, sum), by the lane that has it.
template <typename Number, int width, typename Warp, typename Use>
MICREC_KERNEL_INLINE void sum_all_columns(const Warp& warp, const SumCall& call, std::int64_t row,
                                          std::int64_t begin, std::int64_t end, const Use& use) {
  if (is_zero_row(call, row)) end = begin;
  for (std::int64_t first = 0; first < call.dim; first += kWarpLanes * width) {
    typename Warp::template Lanes<Pack<float, width>> sums;
    warp.each([&](int lane) { sums[lane] = Pack<float, width>{}; });
    sum_nonzeros<Number, width>(warp, call, row, begin, end, first, sums);
    warp.each([&](int lane) {
      const std::int64_t column = first + std::int64_t{lane} * width;
      if (column >= call.dim) return;
      for (int v = 0; v < width; ++v) use(column + v, sums[lane].values[v]);
    });
  }
}

/// A number of an output row, from its sum.
MICREC_KERNEL_INLINE void finish_number(const SumCall& call, const RowFinish& finish,
                                        std::int64_t output_row, std::int64_t column, float sum) {
  const float value = finish(sum, column, [](const float* from) { return *from; });
  const std::int64_t at = output_row * call.dim + column;
  if (call.out_type == Stored::bfloat16) {
    store_as(value, static_cast<Bfloat16Bits*>(call.out) + at);
  } else {
    store_as(value, static_cast<float*>(call.out) + at);
  }
}

/// A warp's share of a call, of (pieces of hubs + output rows): the pieces come first because they
/// take longest, then the rows in their order; of one that is a hub there is nothing else to do.
template <typename Number, int width, typename Warp>
MICREC_KERNEL_INLINE void sum_task(const Warp& warp, const SumCall& call, std::int64_t task) {
  const std::int64_t place = task - call.hubs.piece_count;
  if (place < 0) {
    const HubPiece& piece = call.hubs.pieces[task];
    float* const partial = call.hubs.partials + task * call.dim;
    sum_all_columns<Number, width>(warp, call, row_of_output(call, piece.output_row), piece.begin,
                                   piece.end,
                                   [&](std::int64_t column, float sum) { partial[column] = sum; });
    return;
  }
  const std::int64_t output_row = call.order ? std::int64_t{call.order[place]} : place;
  const std::int64_t row = row_of_output(call, output_row);
  const std::int64_t begin = call.offsets[row];
  const std::int64_t end = call.offsets[row + 1];
  if (end - begin > kHubChunk) return;
  const RowFinish finish = finish_of_row(call, row);
  sum_all_columns<Number, width>(warp, call, row, begin, end, [&](std::int64_t column, float sum) {
    finish_number(call, finish, output_row, column, sum);
  });
}

/// A thread's share of what follows: number i of (hub_count, dim).
MICREC_KERNEL_INLINE void finish_hub_number(const SumCall& call, std::int64_t i) {
  const Hub& hub = call.hubs.hubs[i / call.dim];
  const std::int64_t column = i % call.dim;
  const RowFinish finish = finish_of_row(call, row_of_output(call, hub.output_row));
  finish_number(call, finish, hub.output_row, column, sum_of_pieces(call, hub, column));
}

/// Numbers that a lane reads in one go: as many as leave no lane idle, at most 16 bytes.
template <typename Number>
int pack_width(std::int64_t dim, const void* x) {
  const auto address = reinterpret_cast<std::uintptr_t>(x);
  for (const int width : {4, 2}) {
    const bool is_aligned = address % (sizeof(Number) * width) == 0;
    if (dim % width == 0 && is_aligned && dim >= std::int64_t{kWarpLanes} * width) return width;
  }
  return 1;
}

}  // namespace micrec
