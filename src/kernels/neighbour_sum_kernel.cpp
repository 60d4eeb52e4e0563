// The inner loops of neighbour_sum. Compiled without contraction into fused multiply-adds: the
// product is bound by memory, and so its bits are the same on every processor.
#include <cstdint>

#include "base/random.h"
#include "kernels/kernels.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

// Rows ahead whose reads are started: enough to cover the latency of the last-level cache.
constexpr std::int64_t kPrefetchEntries = 24;
constexpr int kLineFloats = 16;
constexpr int kMaxVectors = 8;  // accumulators of one pass over a row's neighbours
constexpr int kBatchRows = 256;
constexpr int kBatchEntries = kMaxHubChunk;

// Neighbours to add up, after everything that removes some of them.
struct Entries {
  const std::int32_t* rows;  // of x
  const float* weights;      // (entries), or null: by_row
  const float* by_row;       // weight of each row of x, or null: ones
  std::int64_t available;    // entries that may be looked at ahead
};

enum class Weights { none, by_entry, by_row };

// What follows the sum of a row.
struct Finish {
  float row_factor;
  const float* addend;  // or null
  float addend_factor;
  float factor;
};

Finish finish_of(const SumWork& work, std::int64_t output_row) {
  const std::int64_t row = work.rows ? work.rows[output_row] : output_row;
  Finish finish{work.kept_scale, nullptr, 1, work.factor};
  if (work.row_scale) finish.row_factor *= work.row_scale[row];
  if (work.addend) {
    if (!work.addend_rows) {
      finish.addend = work.addend + row * work.dim;
    } else if (const RowSet::Word& word = work.addend_rows[row >> 6]; word.bits >> (row & 63) & 1) {
      const std::uint64_t below = (std::uint64_t{1} << (row & 63)) - 1;
      const std::int64_t position = word.members_before + __builtin_popcountll(word.bits & below);
      finish.addend = work.addend + position * work.dim;
    }
    if (work.addend_scale) finish.addend_factor = work.addend_scale[row];
  }
  return finish;
}

template <int lanes>
MICREC_INLINE void finish_at(const Finish& finish, Vector<lanes> sum, std::int64_t column,
                             float* out) {
  sum *= finish.row_factor;
  if (finish.addend) sum += finish.addend_factor * load<lanes>(finish.addend + column);
  store<lanes>(out + column, sum * finish.factor);
}

// `vectors` vectors of columns, the first at `column`, the last at `last_column`: it overlaps the
// one before it where the width is not a multiple, and both write the same numbers.
template <int lanes, int vectors, Weights weights>
MICREC_INLINE void sum_block(const SumWork& work, const Entries& entries, std::int64_t begin,
                             std::int64_t end, std::int64_t column, std::int64_t last_column,
                             const Finish* finish, float* out) {
  const std::int64_t dim = work.dim;
  const float* const x = work.x + column;
  const std::int64_t last = last_column - column;
  const bool straddles = dim % kLineFloats != 0;
  Vector<lanes> sums[vectors] = {};
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t ahead =
        i + kPrefetchEntries < entries.available ? i + kPrefetchEntries : entries.available - 1;
    const float* const next = x + entries.rows[ahead] * dim;
#pragma GCC unroll 16
    for (int c = 0; c < vectors * lanes; c += kLineFloats) __builtin_prefetch(next + c);
    if (straddles) __builtin_prefetch(next + last + lanes - 1);
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
      finish_at<lanes>(*finish, sums[v], at, out);
    } else {
      store<lanes>(out + at, sums[v]);
    }
  }
}

template <int lanes, Weights weights>
MICREC_INLINE void sum_columns(const SumWork& work, const Entries& entries, std::int64_t begin,
                               std::int64_t end, const Finish* finish, float* out) {
  const std::int64_t vectors = (work.dim + lanes - 1) / lanes;
  for (std::int64_t first = 0; first < vectors; first += kMaxVectors) {
    const std::int64_t count = vectors - first < kMaxVectors ? vectors - first : kMaxVectors;
    const std::int64_t column = first * lanes;
    const std::int64_t full_last = column + (count - 1) * lanes;
    const std::int64_t last = full_last < work.dim - lanes ? full_last : work.dim - lanes;
    switch (count) {
#define MICREC_CASE(n)                                                                  \
  case n:                                                                               \
    sum_block<lanes, n, weights>(work, entries, begin, end, column, last, finish, out); \
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

template <Weights weights>
MICREC_INLINE void sum_any_width(const SumWork& work, const Entries& entries, std::int64_t begin,
                                 std::int64_t end, const Finish* finish, float* out) {
  if (work.dim >= kLanes) {
    return sum_columns<kLanes, weights>(work, entries, begin, end, finish, out);
  }
  if constexpr (kLanes > 8) {
    if (work.dim >= 8) return sum_columns<8, weights>(work, entries, begin, end, finish, out);
  }
  if constexpr (kLanes > 4) {
    if (work.dim >= 4) return sum_columns<4, weights>(work, entries, begin, end, finish, out);
  }
  sum_columns<1, weights>(work, entries, begin, end, finish, out);
}

template <Weights weights>
[[gnu::flatten]] void sum_flat(const SumWork& work, const Entries& entries, std::int64_t begin,
                               std::int64_t end, const Finish* finish, float* out) {
  sum_any_width<weights>(work, entries, begin, end, finish, out);
}

MICREC_INLINE void sum_entries(const SumWork& work, const Entries& entries, std::int64_t begin,
                               std::int64_t end, const Finish* finish, float* out) {
  if (entries.weights) {
    sum_flat<Weights::by_entry>(work, entries, begin, end, finish, out);
  } else if (entries.by_row) {
    sum_flat<Weights::by_row>(work, entries, begin, end, finish, out);
  } else {
    sum_flat<Weights::none>(work, entries, begin, end, finish, out);
  }
}

// Where the row's own weight is zero, its neighbours do not matter.
MICREC_INLINE bool is_zero_row(const SumWork& work, std::int64_t row) {
  return work.row_scale && work.row_scale[row] == 0;
}

// Hashes of the nonzeros [begin, begin + count) of a row, as keeps_edge has them.
[[gnu::flatten]] void hash_entries(const SumWork& work, std::int64_t row,
                                   const std::int32_t* columns, std::int64_t count,
                                   std::uint32_t* hashes) {
  const std::int32_t* const global = work.global_numbers;
  const std::uint32_t key = work.dropout_key;
  const auto own = static_cast<std::uint32_t>(global ? global[row] : row);
  const std::uint32_t own_key = mix(key + own);
  const auto number = [&](std::int64_t i) {
    return static_cast<std::uint32_t>(global ? global[columns[i]] : columns[i]);
  };
  if (work.transposed_dropout) {
    for (std::int64_t i = 0; i < count; ++i) hashes[i] = mix(mix(key + number(i)) ^ own);
  } else {
    for (std::int64_t i = 0; i < count; ++i) hashes[i] = mix(own_key ^ number(i));
  }
}

// The entries of the nonzeros [begin, end) of a row that remain, written to rows and weights;
// returns how many. Nothing here branches on the data: half the branches would be guessed wrong.
std::int64_t remaining_entries(const SumWork& work, std::int64_t row, std::int64_t begin,
                               std::int64_t end, std::int32_t* rows, float* weights) {
  const std::int32_t* const columns = work.columns + begin;
  const float* const edge_weights = work.edge_weights ? work.edge_weights + begin : nullptr;
  std::int64_t count = end - begin;
  if (work.has_dropout) {
    std::uint32_t hashes[kMaxHubChunk];
    hash_entries(work, row, columns, count, hashes);
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      rows[kept] = columns[i];
      if (edge_weights) weights[kept] = edge_weights[i];
      kept += hashes[i] >= work.dropout_threshold;
    }
    count = kept;
  } else {
    for (std::int64_t i = 0; i < count; ++i) rows[i] = columns[i];
    if (edge_weights) {
      for (std::int64_t i = 0; i < count; ++i) weights[i] = edge_weights[i];
    }
  }
  if (const RowSet::Word* const active = work.active_columns) {
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t column = rows[i];
      rows[kept] = column;
      if (edge_weights) weights[kept] = weights[i];
      kept += static_cast<std::int64_t>(active[column >> 6].bits >> (column & 63) & 1);
    }
    count = kept;
  }
  if (work.column_scale) {
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t column = rows[i];
      const float scale = work.column_scale[column];
      rows[kept] = column;
      weights[kept] = edge_weights ? scale * weights[i] : scale;
      kept += scale != 0;
    }
    count = kept;
  }
  if (const RowSet::Word* const active = work.active_columns) {
    for (std::int64_t i = 0; i < count; ++i) {
      const RowSet::Word& word = active[rows[i] >> 6];
      const std::uint64_t below = (std::uint64_t{1} << (rows[i] & 63)) - 1;
      rows[i] =
          static_cast<std::int32_t>(word.members_before + __builtin_popcountll(word.bits & below));
    }
  }
  return count;
}

}  // namespace

void sum_rows(const SumWork& work, std::int64_t begin, std::int64_t end) {
  const std::int64_t* const offsets = work.offsets;
  const bool has_weights = work.edge_weights || work.column_scale;
  const bool scale_in_place = work.column_scale && !work.skips_zero_columns && !work.edge_weights;
  if (!work.rows && !work.has_dropout && !work.active_columns &&
      (!work.column_scale || scale_in_place)) {
    const Entries entries{work.columns, work.edge_weights, work.column_scale, work.nonzeros};
    for (std::int64_t row = begin; row < end; ++row) {
      if (offsets[row + 1] - offsets[row] > work.hub_chunk) continue;
      const Finish finish = finish_of(work, row);
      const std::int64_t row_end = is_zero_row(work, row) ? offsets[row] : offsets[row + 1];
      sum_entries(work, entries, offsets[row], row_end, &finish, work.out + row * work.dim);
    }
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
      const std::int64_t row = work.rows ? work.rows[next] : next;
      const std::int64_t degree = offsets[row + 1] - offsets[row];
      if (degree > work.hub_chunk) continue;
      if (used + degree > kBatchEntries) break;
      const std::int64_t row_end = is_zero_row(work, row) ? offsets[row] : offsets[row + 1];
      used += remaining_entries(work, row, offsets[row], row_end, rows + used, weights + used);
      ends[collected] = used;
      outputs[collected++] = next;
    }
    const Entries entries{rows, has_weights ? weights : nullptr, nullptr, used};
    std::int64_t first = 0;
    for (int b = 0; b < collected; ++b) {
      const Finish finish = finish_of(work, outputs[b]);
      sum_entries(work, entries, first, ends[b], &finish, work.out + outputs[b] * work.dim);
      first = ends[b];
    }
  }
}

void sum_chunk(const SumWork& work, std::int64_t output_row, std::int64_t begin, std::int64_t end,
               float* partial) {
  std::int32_t rows[kMaxHubChunk];
  float weights[kMaxHubChunk];
  const std::int64_t row = work.rows ? work.rows[output_row] : output_row;
  const std::int64_t count =
      is_zero_row(work, row) ? 0 : remaining_entries(work, row, begin, end, rows, weights);
  const bool has_weights = work.edge_weights || work.column_scale;
  sum_entries(work, Entries{rows, has_weights ? weights : nullptr, nullptr, count}, 0, count,
              nullptr, partial);
}

void finish_hub(const SumWork& work, std::int64_t output_row, const float* partials,
                std::int64_t chunks) {
  const Finish finish = finish_of(work, output_row);
  float* const out = work.out + output_row * work.dim;
  for (std::int64_t column = 0; column < work.dim; ++column) {
    float sum = partials[column];
    for (std::int64_t c = 1; c < chunks; ++c) sum += partials[c * work.dim + column];
    finish_at<1>(finish, sum, column, out);
  }
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
