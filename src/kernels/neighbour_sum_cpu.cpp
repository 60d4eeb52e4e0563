// The loops of neighbour_sum over vectors of columns. Compiled without contraction into fused
// multiply-adds: the product is bound by memory, and so its bits are the same on every processor.
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/neighbour_sum_row.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

constexpr int kLineFloats = 16;
// Lines ahead whose reads are started: enough to cover the latency of the last-level cache.
constexpr int kPrefetchLines = 96;
constexpr int kMaxVectors = 8;  // accumulators of one pass over a row's neighbours
constexpr int kBatchRows = 256;
// From this size on sums are written past the caches, where they would not stay until they are
// read: no line is read before it is written, and rows of x keep their place. So are those of rows
// that are not stored rising, which jump about in what they write.
constexpr std::int64_t kStreamedBytes = std::int64_t{12} << 20;
constexpr int kBatchEntries = kHubChunk;

// Neighbours to add up, after everything that removes some of them.
struct Entries {
  const std::int32_t* rows;  // of x
  const float* weights;      // (entries), or null: by_row
  const float* by_row;       // weight of each row of x, or null: ones
  std::int64_t available;    // entries that may be looked at ahead
};

enum class Weights { none, by_entry, by_row };

template <int lanes>
MICREC_INLINE void finish_at(const RowFinish& finish, Vector<lanes> sum, std::int64_t column,
                             bool is_streamed, float* out) {
  const auto read = [](const float* from) { return load<lanes>(from); };
  const Vector<lanes> result = finish(sum, column, read);
  if (is_streamed) {
    stream<lanes>(out + column, result);
  } else {
    store<lanes>(out + column, result);
  }
}

// Whether vectors of so many numbers can and should be written past the caches.
template <int lanes>
MICREC_INLINE bool streams(const SumCall& call) {
  constexpr std::int64_t kNumber = sizeof(float);
  const bool is_large = call.output_rows * call.dim * kNumber >= kStreamedBytes;
  return can_stream<lanes> && (is_large || (call.row_at && !call.rows)) && call.dim % lanes == 0 &&
         reinterpret_cast<std::uintptr_t>(call.out) % (lanes * kNumber) == 0;
}

MICREC_INLINE float* row_of_out(const SumCall& call, std::int64_t output_row) {
  return static_cast<float*>(call.out) + output_row * call.dim;
}

// The i-th row wanted: the pattern's row, the place where that is stored, and its row of the
// result.
struct WantedRow {
  std::int64_t row;
  std::int64_t place;
  std::int64_t output_row;
};

MICREC_INLINE WantedRow wanted_row(const SumCall& call, std::int64_t i) {
  if (call.rows) return {call.rows[i], place_of_row(call, call.rows[i]), i};
  const std::int64_t row = call.row_at ? std::int64_t{call.row_at[i]} : i;
  return {row, i, row};
}

// `vectors` vectors of columns, the first at `column`, the last at `last_column`: it overlaps the
// one before it where the width is not a multiple, and both write the same numbers.
template <int lanes, int vectors, Weights weights>
MICREC_INLINE void sum_block(const SumCall& call, const Entries& entries, std::int64_t begin,
                             std::int64_t end, std::int64_t column, std::int64_t last_column,
                             const RowFinish* finish, bool is_streamed, float* out) {
  const std::int64_t dim = call.dim;
  const float* const x = static_cast<const float*>(call.x) + column;
  const std::int64_t last = last_column - column;
  constexpr std::int64_t kEntriesAhead =
      kPrefetchLines / (vectors * lanes > kLineFloats ? vectors * lanes / kLineFloats : 1);
  const bool straddles = dim % kLineFloats != 0;
  Vector<lanes> sums[vectors] = {};
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t ahead =
        i + kEntriesAhead < entries.available ? i + kEntriesAhead : entries.available - 1;
    const float* const next = x + entries.rows[ahead] * dim;
#pragma GCC unroll 16
    for (int c = 0; c < vectors * lanes; c += kLineFloats) __builtin_prefetch(next + c);
    if (straddles) __builtin_prefetch(next + last + lanes - 1);
    if constexpr (weights == Weights::by_row) {
      __builtin_prefetch(entries.by_row + entries.rows[ahead]);
    }
    const float* const row = x + entries.rows[i] * dim;
    [[maybe_unused]] float weight = 1;
    if constexpr (weights == Weights::by_entry) weight = entries.weights[i];
    if constexpr (weights == Weights::by_row) weight = entries.by_row[entries.rows[i]];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const Vector<lanes> value = load<lanes>(row + (v + 1 < vectors ? v * lanes : last));
      if constexpr (weights == Weights::none) {
        sums[v] += value;
      } else {
        sums[v] += weight * value;
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    const std::int64_t at = v + 1 < vectors ? column + v * lanes : last_column;
    if (finish) {
      finish_at<lanes>(*finish, sums[v], at, is_streamed, out);
    } else {
      store<lanes>(out + at, sums[v]);
    }
  }
}

// A block of columns of every row that `each` names, as use(begin, end, finish, out).
template <int lanes, int vectors, Weights weights, typename Each>
[[gnu::flatten]] void sum_block_of_each(const SumCall& call, const Entries& entries,
                                        std::int64_t column, std::int64_t last_column,
                                        const Each& each) {
  const bool is_streamed = streams<lanes>(call);
  each([&](std::int64_t begin, std::int64_t end, const RowFinish* finish, float* out) {
    sum_block<lanes, vectors, weights>(call, entries, begin, end, column, last_column, finish,
                                       is_streamed, out);
  });
}

template <int lanes, Weights weights, typename Each>
MICREC_INLINE void sum_columns(const SumCall& call, const Entries& entries, const Each& each) {
  const std::int64_t vectors = (call.dim + lanes - 1) / lanes;
  for (std::int64_t first = 0; first < vectors; first += kMaxVectors) {
    const std::int64_t count = vectors - first < kMaxVectors ? vectors - first : kMaxVectors;
    const std::int64_t column = first * lanes;
    const std::int64_t full_last = column + (count - 1) * lanes;
    const std::int64_t last = full_last < call.dim - lanes ? full_last : call.dim - lanes;
    switch (count) {
#define MICREC_CASE(n)                                                         \
  case n:                                                                      \
    if constexpr (lanes == kLanes || lanes * (n) <= kLanes) {                  \
      sum_block_of_each<lanes, n, weights>(call, entries, column, last, each); \
    }                                                                          \
    break;
      MICREC_CASE(1)
      MICREC_CASE(2)
      MICREC_CASE(3)
      MICREC_CASE(4)
      MICREC_CASE(5)
      MICREC_CASE(6)
      MICREC_CASE(7)
      MICREC_CASE(8)
#undef MICREC_CASE
    }
  }
}

template <Weights weights, typename Each>
void sum_any_width(const SumCall& call, const Entries& entries, const Each& each) {
  if (call.dim >= kLanes) return sum_columns<kLanes, weights>(call, entries, each);
  if constexpr (kLanes > 8) {
    if (call.dim >= 8) return sum_columns<8, weights>(call, entries, each);
  }
  if constexpr (kLanes > 4) {
    if (call.dim >= 4) return sum_columns<4, weights>(call, entries, each);
  }
  sum_columns<1, weights>(call, entries, each);
}

template <typename Each>
MICREC_INLINE void sum_entries(const SumCall& call, const Entries& entries, const Each& each) {
  if (entries.weights) {
    sum_any_width<Weights::by_entry>(call, entries, each);
  } else if (entries.by_row) {
    sum_any_width<Weights::by_row>(call, entries, each);
  } else {
    sum_any_width<Weights::none>(call, entries, each);
  }
}

// Which of `count` nonzeros of a row dropout keeps, each as 0 or 1.
[[gnu::flatten]] void decide_dropout(const SumCall& call, std::int64_t row,
                                     const std::int32_t* columns, std::int64_t count,
                                     std::uint32_t* kept) {
  const std::int32_t* const global = call.global_numbers;
  const DropoutRule rule = call.dropout;
  const std::uint32_t own = dropout_number(global, row);
  if (rule.transposed) {
    for (std::int64_t i = 0; i < count; ++i) {
      kept[i] = rule.keeps<true>(own, dropout_number(global, columns[i]));
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      kept[i] = rule.keeps<false>(own, dropout_number(global, columns[i]));
    }
  }
}

// Moves up the columns that keep(i, column) says, with their weights, if any; returns how many.
template <typename Keep>
MICREC_INLINE std::int64_t keep_where(const std::int32_t* columns, const float* weights,
                                      std::int64_t count, std::int32_t* kept_columns,
                                      float* kept_weights, const Keep& keep) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t column = columns[i];
    kept_columns[kept] = column;
    if (weights) kept_weights[kept] = weights[i];
    kept += static_cast<std::int64_t>(keep(i, column));
  }
  return kept;
}

// Where the columns' scales are looked up as rows are added, not collected with them.
MICREC_INLINE bool scales_in_place(const SumCall& call) {
  return call.column_scale && !call.skips_zero_columns && !call.edge_weights &&
         !call.active_columns;
}

// The entries that were collected.
MICREC_INLINE Entries collected_entries(const SumCall& call, const std::int32_t* rows,
                                        const float* weights, std::int64_t count) {
  if (scales_in_place(call)) return {rows, nullptr, call.column_scale, count};
  return {rows, call.edge_weights || call.column_scale ? weights : nullptr, nullptr, count};
}

// Starts reading the addend of a row that follows soon: rows that are not stored rising jump about
// in it, which no processor foresees.
MICREC_INLINE void start_addend(const SumCall& call, std::int64_t place, std::int64_t end) {
  constexpr std::int64_t kRowsAhead = 4;
  if (!call.row_at || !call.addend || place + kRowsAhead >= end) return;
  const float* const addend = finish_of_row(call, call.row_at[place + kRowsAhead]).addend;
  if (!addend) return;
  for (std::int64_t c = 0; c < call.dim; c += kLineFloats) __builtin_prefetch(addend + c);
}

// Starts reading what a wanted row that follows soon needs: its place, its first neighbours and its
// addend lie anywhere.
MICREC_INLINE void start_wanted(const SumCall& call, std::int64_t next, std::int64_t end) {
  constexpr std::int64_t kRowsAhead = 8;
  if (!call.rows) return;
  if (next + 2 * kRowsAhead < end) {
    __builtin_prefetch(call.offsets + place_of_row(call, call.rows[next + 2 * kRowsAhead]));
  }
  if (next + kRowsAhead >= end) return;
  const std::int64_t row = call.rows[next + kRowsAhead];
  const std::int64_t* const offset = call.offsets + place_of_row(call, row);
  const std::int32_t* const columns = call.columns + offset[0];
  for (std::int64_t c = 0; c < 4 * kLineFloats && c < offset[1] - offset[0]; c += kLineFloats) {
    __builtin_prefetch(columns + c);
  }
  const float* const addend = finish_of_row(call, row).addend;
  for (std::int64_t c = 0; addend && c < call.dim; c += kLineFloats) __builtin_prefetch(addend + c);
}

// Takes the columns' scales into the weights, and moves up those that take part as rows of x.
template <typename RowOfX>
MICREC_INLINE std::int64_t keep_scaled(const SumCall& call, const std::int32_t* columns,
                                       const float* edge_weights, std::int64_t count,
                                       std::int32_t* rows, float* weights, const RowOfX& row_of) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t column = columns[i];
    const float scale = call.column_scale[column];
    rows[kept] = row_of(column);
    weights[kept] = edge_weights ? scale * edge_weights[i] : scale;
    kept += takes_part(scale);
  }
  return kept;
}

// The entries of the nonzeros [begin, end) of a row that remain, written to rows and weights;
// returns how many. Nothing here branches on the data: half the branches would be guessed wrong.
std::int64_t remaining_entries(const SumCall& call, std::int64_t row, std::int64_t begin,
                               std::int64_t end, std::int32_t* rows, float* weights) {
  const std::int32_t* columns = call.columns + begin;  // of what remains so far, as its weights
  const float* edge_weights = call.edge_weights ? call.edge_weights + begin : nullptr;
  std::int64_t count = end - begin;
  if (call.dropout.threshold != 0) {
    std::uint32_t kept[kHubChunk];
    decide_dropout(call, row, columns, count, kept);
    count = keep_where(columns, edge_weights, count, rows, weights,
                       [&](std::int64_t i, std::int32_t) { return kept[i]; });
    columns = rows;
    if (edge_weights) edge_weights = weights;
  }
  const RowSet::Word* const active = call.active_columns;
  if (active) {
    count =
        keep_where(columns, edge_weights, count, rows, weights,
                   [&](std::int64_t, std::int32_t column) { return is_active(active, column); });
    columns = rows;
    if (edge_weights) edge_weights = weights;
  }
  const auto compact = [&](std::int32_t column) { return row_of_x(active, column); };
  const auto itself = [](std::int32_t column) { return column; };
  if (call.column_scale && !scales_in_place(call)) {
    return active ? keep_scaled(call, columns, edge_weights, count, rows, weights, compact)
                  : keep_scaled(call, columns, edge_weights, count, rows, weights, itself);
  }
  if (active) {
    for (std::int64_t i = 0; i < count; ++i) rows[i] = compact(rows[i]);
    return count;
  }
  if (call.dropout.threshold != 0) return count;  // they were moved
  for (std::int64_t i = 0; i < count; ++i) rows[i] = columns[i];
  if (edge_weights) {
    for (std::int64_t i = 0; i < count; ++i) weights[i] = edge_weights[i];
  }
  return count;
}

}  // namespace

void sum_rows(const SumCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t* const offsets = call.offsets;
  if (!call.rows && call.dropout.threshold == 0 && !call.active_columns &&
      (!call.column_scale || scales_in_place(call))) {
    const Entries entries{call.columns, call.edge_weights, call.column_scale, call.nonzeros};
    sum_entries(call, entries, [&](const auto& sum) {
      for (std::int64_t place = begin; place < end; ++place) {
        start_addend(call, place, end);
        if (offsets[place + 1] - offsets[place] > kHubChunk) continue;
        const std::int64_t row = wanted_row(call, place).row;
        const RowFinish finish = finish_of_row(call, row);
        const std::int64_t row_end = is_zero_row(call, row) ? offsets[place] : offsets[place + 1];
        sum(offsets[place], row_end, &finish, row_of_out(call, row));
      }
    });
    end_streams();
    return;
  }
  // What remains of several rows is collected first, so that reads can be started across rows.
  std::int32_t rows[kBatchEntries];
  float weights[kBatchEntries];
  std::int64_t ends[kBatchRows];
  std::int64_t outputs[kBatchRows];
  for (std::int64_t next = begin; next < end;) {
    std::int64_t used = 0;
    int collected = 0;
    for (; next < end && collected < kBatchRows; ++next) {
      start_wanted(call, next, end);
      const auto [row, place, output_row] = wanted_row(call, next);
      const std::int64_t degree = offsets[place + 1] - offsets[place];
      if (degree > kHubChunk) continue;
      if (used + degree > kBatchEntries) break;
      const std::int64_t row_end = is_zero_row(call, row) ? offsets[place] : offsets[place + 1];
      used += remaining_entries(call, row, offsets[place], row_end, rows + used, weights + used);
      ends[collected] = used;
      outputs[collected++] = output_row;
    }
    const Entries entries = collected_entries(call, rows, weights, used);
    sum_entries(call, entries, [&](const auto& sum) {
      std::int64_t first = 0;
      for (int b = 0; b < collected; ++b) {
        const RowFinish finish = finish_of_row(call, row_of_output(call, outputs[b]));
        sum(first, ends[b], &finish, row_of_out(call, outputs[b]));
        first = ends[b];
      }
    });
  }
  end_streams();
}

void sum_hub_piece(const SumCall& call, std::int64_t number) {
  std::int32_t rows[kHubChunk];
  float weights[kHubChunk];
  const HubPiece& piece = call.hubs.pieces[number];
  const std::int64_t row = row_of_output(call, piece.output_row);
  const std::int64_t count =
      is_zero_row(call, row) ? 0
                             : remaining_entries(call, row, piece.begin, piece.end, rows, weights);
  sum_entries(call, collected_entries(call, rows, weights, count), [&](const auto& sum) {
    sum(std::int64_t{0}, count, nullptr, call.hubs.partials + number * call.dim);
  });
}

void finish_hub(const SumCall& call, std::int64_t number) {
  const Hub& hub = call.hubs.hubs[number];
  const RowFinish finish = finish_of_row(call, row_of_output(call, hub.output_row));
  float* const out = row_of_out(call, hub.output_row);
  for (std::int64_t column = 0; column < call.dim; ++column) {
    finish_at<1>(finish, sum_of_pieces(call, hub, column), column, false, out);
  }
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
