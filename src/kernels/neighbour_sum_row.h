#pragma once

#include <cstdint>

#include "base/kernel_inline.h"
#include "base/random.h"
#include "kernels/row_set.h"

// The sum of a row of neighbour_sum, as far as the CPU and a GPU share it: what a call says, which
// neighbours take part and with what weight, what follows the sum of a row, and how a hub is put
// together. Only the loops differ: vectors of columns in neighbour_sum_cpu.cpp, warps in
// neighbour_sum_warp.h.
namespace micrec {

/// Rows with more neighbours than this are hubs: they are summed in pieces of this many, whose sums
/// are then added in order.
inline constexpr std::int64_t kHubChunk = 4096;

/// A piece of a hub: nonzeros [begin, end) of an output row.
struct HubPiece {
  std::int64_t output_row;
  std::int64_t begin;
  std::int64_t end;
};

/// An output row that is a hub: its pieces are `pieces` from `first_piece` on.
struct Hub {
  std::int64_t output_row;
  std::int64_t first_piece;
  std::int64_t pieces;
};

/// The hubs among the output rows.
struct Hubs {
  const HubPiece* pieces = nullptr;  // (piece_count)
  std::int64_t piece_count = 0;
  const Hub* hubs = nullptr;  // (hub_count)
  std::int64_t hub_count = 0;
  float* partials = nullptr;  // (piece_count, dim), the pieces' sums
};

/// What decides on the nonzero at (row, column) of the operator that drops.
MICREC_SHARED_INLINE constexpr std::uint32_t edge_hash(std::uint32_t key, std::uint32_t row,
                                                       std::uint32_t column) {
  return mix(mix(key + row) ^ column);
}

/// Which nonzeros are dropped: those whose hash is below the threshold.
struct DropoutRule {
  std::uint32_t key = 0;        // the mixed seed
  std::uint32_t threshold = 0;  // 0: none is dropped
  bool transposed = false;

  template <bool is_transposed>
  MICREC_KERNEL_INLINE bool keeps(std::uint32_t own, std::uint32_t other) const {
    return (is_transposed ? edge_hash(key, other, own) : edge_hash(key, own, other)) >= threshold;
  }
};

/// How numbers of x and out are stored; they are added up as float32 all the same.
enum class Stored : std::uint8_t { float32, bfloat16 };

/// One call of neighbour_sum; see there. All pointers are of the processor that runs it; those that
/// may be null say so.
struct SumCall {
  const std::int64_t* offsets = nullptr;  // of the pattern's places, from the first wanted one on
  const std::int32_t* columns = nullptr;
  std::int64_t nonzeros = 0;
  const std::int32_t* row_at = nullptr;    // of the places, from the first wanted one on, or null
  const std::int32_t* place_of = nullptr;  // (pattern rows) or null; neither on a GPU
  const void* x = nullptr;                 // (factor rows, dim)
  void* out = nullptr;                     // (output rows, dim)
  Stored x_type = Stored::float32;
  Stored out_type = Stored::float32;
  std::int64_t dim = 0;
  std::int64_t output_rows = 0;
  const std::int32_t* rows = nullptr;            // (output rows) or null: all
  const std::int32_t* order = nullptr;           // (output rows) in which a GPU takes them, or null
  const float* row_scale = nullptr;              // or null
  const float* column_scale = nullptr;           // or null
  bool skips_zero_columns = false;               // rows under a zero column scale must not be read
  const float* edge_weights = nullptr;           // (nonzeros) or null
  const RowSet::Word* active_columns = nullptr;  // or null
  const std::int32_t* global_numbers = nullptr;  // of local rows; null: the same
  DropoutRule dropout;
  float kept_scale = 1;                       // 1 / (1 - p)
  const float* addend = nullptr;              // or null
  const float* addend_scale = nullptr;        // (pattern rows) or null
  const RowSet::Word* addend_rows = nullptr;  // or null
  const std::int32_t* addend_of = nullptr;    // (pattern rows) or null
  float factor = 1;
  Hubs hubs;
};

/// A neighbour that takes part.
struct Neighbour {
  std::int32_t row;  // of x
  float weight;
};

MICREC_KERNEL_INLINE std::int64_t row_of_output(const SumCall& call, std::int64_t output_row) {
  return call.rows ? std::int64_t{call.rows[output_row]} : output_row;
}

/// The place at which the pattern stores a row, where all are wanted or not.
MICREC_KERNEL_INLINE std::int64_t place_of_row(const SumCall& call, std::int64_t row) {
  return call.place_of ? std::int64_t{call.place_of[row]} : row;
}

/// Where the row's own weight is zero, its neighbours do not matter.
MICREC_KERNEL_INLINE bool is_zero_row(const SumCall& call, std::int64_t row) {
  return call.row_scale && call.row_scale[row] == 0;
}

/// The number by which dropout knows a local row.
MICREC_KERNEL_INLINE std::uint32_t dropout_number(const std::int32_t* global_numbers,
                                                  std::int64_t row) {
  return static_cast<std::uint32_t>(global_numbers ? global_numbers[row]
                                                   : static_cast<std::int32_t>(row));
}

MICREC_KERNEL_INLINE bool is_active(const RowSet::Word* active_columns, std::int32_t column) {
  return active_columns[column >> 6].holds(column);
}

/// The row of x that holds an active column.
MICREC_KERNEL_INLINE std::int32_t row_of_x(const RowSet::Word* active_columns,
                                           std::int32_t column) {
  return static_cast<std::int32_t>(active_columns[column >> 6].position(column));
}

/// A nonzero under a column scale takes part where the scale is not zero.
MICREC_KERNEL_INLINE bool takes_part(float column_scale) { return column_scale != 0; }

/// Whether the i-th nonzero, of `row`, takes part, and with what.
MICREC_KERNEL_INLINE bool takes_part(const SumCall& call, std::int64_t row, std::int64_t i,
                                     Neighbour& neighbour) {
  const std::int32_t column = call.columns[i];
  if (call.dropout.threshold != 0) {
    const std::uint32_t own = dropout_number(call.global_numbers, row);
    const std::uint32_t other = dropout_number(call.global_numbers, column);
    if (!(call.dropout.transposed ? call.dropout.keeps<true>(own, other)
                                  : call.dropout.keeps<false>(own, other))) {
      return false;
    }
  }
  neighbour.row = column;
  if (call.active_columns) {
    if (!is_active(call.active_columns, column)) return false;
    neighbour.row = row_of_x(call.active_columns, column);
  }
  neighbour.weight = call.edge_weights ? call.edge_weights[i] : 1.0F;
  if (call.column_scale) {
    const float scale = call.column_scale[column];
    if (!takes_part(scale)) return false;
    neighbour.weight *= scale;
  }
  return true;
}

/// What follows the sum of a row.
struct RowFinish {
  float row_factor;
  const float* addend;  // (dim) or null
  float addend_factor;
  float factor;

  /// `sum`: of a column, or of as many side by side as read(address) reads.
  template <typename Number, typename Read>
  MICREC_KERNEL_INLINE Number operator()(Number sum, std::int64_t column, const Read& read) const {
    sum *= row_factor;
    if (addend) sum += addend_factor * read(addend + column);
    return sum * factor;
  }
};

MICREC_KERNEL_INLINE RowFinish finish_of_row(const SumCall& call, std::int64_t row) {
  RowFinish finish{call.kept_scale, nullptr, 1.0F, call.factor};
  if (call.row_scale) finish.row_factor *= call.row_scale[row];
  if (call.addend) {
    if (call.addend_of) {
      finish.addend = call.addend + call.addend_of[row] * call.dim;
    } else if (!call.addend_rows) {
      finish.addend = call.addend + row * call.dim;
    } else if (const RowSet::Word& word = call.addend_rows[row >> 6]; word.holds(row)) {
      finish.addend = call.addend + word.position(row) * call.dim;
    }
    if (call.addend_scale) finish.addend_factor = call.addend_scale[row];
  }
  return finish;
}

/// A number of a hub before its finish: the sums of its pieces, in their order.
MICREC_KERNEL_INLINE float sum_of_pieces(const SumCall& call, const Hub& hub, std::int64_t column) {
  const float* const partials = call.hubs.partials + hub.first_piece * call.dim + column;
  float sum = partials[0];
  for (std::int64_t p = 1; p < hub.pieces; ++p) sum += partials[p * call.dim];
  return sum;
}

}  // namespace micrec
