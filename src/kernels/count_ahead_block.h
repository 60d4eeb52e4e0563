#pragma once

#include <cmath>
#include <cstdint>

#include "base/kernel_inline.h"
#include "kernels/neighbour_sum_warp.h"
#include "kernels/score_mix.h"

// How many items come before relevant ones, on a GPU. Every score has the bits that the CPU gives
// it (scores.h, history_sums.h), so that ranks are the CPU's, ties included: the product of two
// rows is one chain of fused multiply-adds over the columns, a sum over a history has an addition
// for each source in rising order, and a mix is one fused multiply-add of both.
//
// A block of threads takes tiles of users and items. `Block` says what threads are: on a GPU each
// runs the code for itself, in tests a loop runs it for all. It has:
//   Block::Threads<T>   a T a thread, [thread] of which the code of that thread may use
//   block.each(f)       f(thread) for every thread of the block; nobody goes on before all are done
namespace micrec {

inline constexpr int kRankThreads = 256;  // of a block
inline constexpr int kRankUsers = 64;     // of a tile
inline constexpr int kRankItems = 128;    // of a tile
inline constexpr int kRankColumns = 16;   // of their rows that a block holds at a time
inline constexpr int kRankTiles = 16;     // of the same users that a block takes in turn
inline constexpr int kPackLanes = 4;      // numbers that a thread reads in one go

/// Sums over histories are stored so many bytes at a time, or those of a tile's users.
inline constexpr std::int64_t kRankSumsBytes = std::int64_t{256} << 20;

/// A ranking of users against candidates, which have positions: by group, and by item number within
/// a group. All pointers are the GPU's; those that may be null say so.
struct RankCall {
  const float* items = nullptr;           // (candidates, dim)
  const std::int32_t* numbers = nullptr;  // (candidates) of items
  std::int64_t candidates = 0;
  std::int64_t dim = 0;
  const std::int64_t* group_begin = nullptr;  // (groups + 1) positions
  std::int64_t groups = 0;

  // Coefficients by source item; null: no mix takes them. Of a source from `sources` on: none.
  const std::int64_t* source_offsets = nullptr;    // (sources + 1)
  const std::int32_t* source_positions = nullptr;  // rising within a source
  const float* source_values = nullptr;
  std::int64_t sources = 0;
  const std::int64_t* history_offsets = nullptr;  // (lists + 1)
  const std::int32_t* history_items = nullptr;    // rising within a list
  const float* history_weights = nullptr;         // as the items, or null: each is 1
  const std::int32_t* history_of = nullptr;       // (users) list

  const float* users = nullptr;                    // (users, dim)
  const std::int64_t* masked_offsets = nullptr;    // (users + 1)
  const std::int32_t* masked_positions = nullptr;  // rising within a user's

  const std::int64_t* positive_offsets = nullptr;  // (users + 1)
  const std::int32_t* positive_items = nullptr;    // (positives)
  const std::int32_t* positive_user = nullptr;     // (positives)
  std::int64_t positives = 0;
  const ScoreMix* mixes = nullptr;  // (mix_count)
  std::int64_t mix_count = 0;

  float* thresholds = nullptr;  // (mixes, positives) scores of the positives
  std::int32_t* turns =
      nullptr;  // (positives, groups) from which position on an equal score is not ahead
  std::int32_t* ahead = nullptr;  // (mixes, positives, groups) added to

  // Who is ranked: users [first_user, last_user).
  std::int64_t first_user = 0;
  std::int64_t last_user = 0;
  float* sums =
      nullptr;  // (those users, candidates) over their histories, or null: no mix takes them
};

/// The first of the rising numbers [begin, end) that is not below `wanted`.
MICREC_KERNEL_INLINE std::int64_t first_not_below(const std::int32_t* numbers, std::int64_t begin,
                                                  std::int64_t end, std::int64_t wanted) {
  while (begin < end) {
    const std::int64_t middle = begin + (end - begin) / 2;
    if (numbers[middle] < wanted) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

MICREC_KERNEL_INLINE float mixed_score(const ScoreMix& mix, float product, float sum) {
  if (!mix.embeddings) return sum;
  return mix.regression == 0 ? product : fmaf(mix.regression, sum, product);
}

/// What an item of a history adds: the coefficients [begin, end), each times a weight.
struct SourceRun {
  std::int64_t begin, end;
  float weight;
};

MICREC_KERNEL_INLINE SourceRun run_of_source(const RankCall& call, std::int64_t n) {
  const std::int32_t source = call.history_items[n];
  if (source >= call.sources) return {0, 0, 0};
  return {call.source_offsets[source], call.source_offsets[source + 1],
          call.history_weights ? call.history_weights[n] : 1.0F};
}

/// The sum over a user's history at a position.
MICREC_KERNEL_INLINE float history_sum_at(const RankCall& call, std::int64_t user,
                                          std::int64_t position) {
  const std::int32_t list = call.history_of[user];
  float sum = 0;
  for (std::int64_t n = call.history_offsets[list]; n < call.history_offsets[list + 1]; ++n) {
    const SourceRun run = run_of_source(call, n);
    const std::int64_t at = first_not_below(call.source_positions, run.begin, run.end, position);
    if (at < run.end && call.source_positions[at] == position) {
      sum += run.weight * call.source_values[at];
    }
  }
  return sum;
}

/// Where a positive stands among the candidates, and its scores where it is one of them.
MICREC_KERNEL_INLINE void place_positive(const RankCall& call, std::int64_t positive) {
  const std::int32_t item = call.positive_items[positive];
  std::int64_t position = -1;
  for (std::int64_t g = 0; g < call.groups; ++g) {
    const std::int64_t end = call.group_begin[g + 1];
    const std::int64_t turn = first_not_below(call.numbers, call.group_begin[g], end, item);
    call.turns[positive * call.groups + g] = static_cast<std::int32_t>(turn);
    if (turn < end && call.numbers[turn] == item) position = turn;
  }
  if (position < 0) return;
  const std::int64_t user = call.positive_user[positive];
  float product = 0;
  for (std::int64_t k = 0; k < call.dim; ++k) {
    product = fmaf(call.users[user * call.dim + k], call.items[position * call.dim + k], product);
  }
  const float sum = call.source_offsets ? history_sum_at(call, user, position) : 0;
  for (std::int64_t mix = 0; mix < call.mix_count; ++mix) {
    call.thresholds[mix * call.positives + positive] = mixed_score(call.mixes[mix], product, sum);
  }
}

/// The sums over a user's history at all positions, by a block. `runs`: kRankThreads that its
/// threads share.
template <typename Block>
MICREC_KERNEL_INLINE void sum_history(const Block& block, const RankCall& call, std::int64_t user,
                                      SourceRun* runs) {
  float* const sums = call.sums + (user - call.first_user) * call.candidates;
  block.each([&](int thread) {
    for (std::int64_t i = thread; i < call.candidates; i += kRankThreads) sums[i] = 0;
  });
  const std::int32_t list = call.history_of[user];
  const std::int64_t end = call.history_offsets[list + 1];
  for (std::int64_t base = call.history_offsets[list]; base < end; base += kRankThreads) {
    block.each([&](int thread) {
      if (base + thread < end) runs[thread] = run_of_source(call, base + thread);
    });
    const int count = static_cast<int>(end - base < kRankThreads ? end - base : kRankThreads);
    for (int n = 0; n < count; ++n) {  // one source after the other, whose positions differ
      block.each([&](int thread) {
        const SourceRun run = runs[n];
        for (std::int64_t at = run.begin + thread; at < run.end; at += kRankThreads) {
          sums[call.source_positions[at]] += run.weight * call.source_values[at];
        }
      });
    }
  }
}

/// What the threads of a block share. Rows of floats are filled up so that threads which read or
/// write side by side meet different banks of this memory.
struct RankTile {
  alignas(16) float users[kRankColumns][kRankUsers + kPackLanes];
  alignas(16) float items[kRankColumns][kRankItems + kPackLanes];
  alignas(16) float scores[kRankUsers][kRankItems + kPackLanes];
  std::uint32_t masked[kRankUsers][kRankItems / 32];  // a bit an item
};

// A thread multiplies 4 users with 2 times 4 items: those from item_of_thread() on, and as many
// half a tile further.
inline constexpr int kThreadUsers = 4;
inline constexpr int kThreadPacks = 2;
inline constexpr int kThreadsOfItems = kRankItems / (kThreadPacks * kPackLanes);
static_assert(kThreadsOfItems * (kRankUsers / kThreadUsers) == kRankThreads);

MICREC_KERNEL_INLINE int user_of_thread(int thread) {
  return thread / kThreadsOfItems * kThreadUsers;
}
MICREC_KERNEL_INLINE int item_of_thread(int thread, int pack) {
  return thread % kThreadsOfItems * kPackLanes + pack * (kRankItems / kThreadPacks);
}

struct ThreadProducts {
  Pack<float, kPackLanes> of[kThreadUsers][kThreadPacks];
};

/// Where a tile begins.
struct TilePlace {
  std::int64_t user, position;
};

/// The columns from `first` on of the tile's rows; zeros where there are none, which add nothing.
MICREC_KERNEL_INLINE void load_columns(const RankCall& call, RankTile& tile, const TilePlace& place,
                                       std::int64_t first, int thread) {
  constexpr int kRowsAtATime = kRankThreads / kRankColumns;
  constexpr int kUserReads = kRankUsers / kRowsAtATime;
  constexpr int kItemReads = kRankItems / kRowsAtATime;
  static_assert(kRankThreads % kRankColumns == 0 && kRankUsers % kRowsAtATime == 0 &&
                kRankItems % kRowsAtATime == 0);
  const int k = thread % kRankColumns;
  const int first_row = thread / kRankColumns;
  const bool is_column = first + k < call.dim;
  float numbers[kUserReads + kItemReads];  // all under way before the first is written
  MICREC_UNROLL
  for (int n = 0; n < kUserReads; ++n) {
    const std::int64_t user = place.user + first_row + n * kRowsAtATime;
    const bool is_there = is_column && user < call.last_user;
    numbers[n] = is_there ? call.users[user * call.dim + first + k] : 0;
  }
  MICREC_UNROLL
  for (int n = 0; n < kItemReads; ++n) {
    const std::int64_t position = place.position + first_row + n * kRowsAtATime;
    const bool is_there = is_column && position < call.candidates;
    numbers[kUserReads + n] = is_there ? call.items[position * call.dim + first + k] : 0;
  }
  MICREC_UNROLL
  for (int n = 0; n < kUserReads; ++n) {
    tile.users[k][first_row + n * kRowsAtATime] = numbers[n];
  }
  MICREC_UNROLL
  for (int n = 0; n < kItemReads; ++n) {
    tile.items[k][first_row + n * kRowsAtATime] = numbers[kUserReads + n];
  }
}

MICREC_KERNEL_INLINE void multiply_columns(const RankTile& tile, int thread,
                                           ThreadProducts& products) {
  using Numbers = Pack<float, kPackLanes>;
  const int user = user_of_thread(thread);
  MICREC_UNROLL
  for (int k = 0; k < kRankColumns; ++k) {
    const Numbers x = *reinterpret_cast<const Numbers*>(&tile.users[k][user]);
    Numbers y[kThreadPacks];
    MICREC_UNROLL
    for (int p = 0; p < kThreadPacks; ++p) {
      y[p] = *reinterpret_cast<const Numbers*>(&tile.items[k][item_of_thread(thread, p)]);
    }
    MICREC_UNROLL
    for (int u = 0; u < kThreadUsers; ++u) {
      MICREC_UNROLL
      for (int p = 0; p < kThreadPacks; ++p) {
        MICREC_UNROLL
        for (int lane = 0; lane < kPackLanes; ++lane) {
          float& sum = products.of[u][p].values[lane];
          sum = fmaf(x.values[u], y[p].values[lane], sum);
        }
      }
    }
  }
}

/// A thread's products as scores of a mix, masked ones below all.
MICREC_KERNEL_INLINE void write_scores(const RankCall& call, RankTile& tile, const TilePlace& place,
                                       const ScoreMix& mix, const ThreadProducts& products,
                                       int thread) {
  MICREC_UNROLL
  for (int u = 0; u < kThreadUsers; ++u) {
    const int row = user_of_thread(thread) + u;
    const bool has_sums = call.sums && place.user + row < call.last_user;
    const float* const sums =
        has_sums ? call.sums + (place.user + row - call.first_user) * call.candidates : nullptr;
    MICREC_UNROLL
    for (int p = 0; p < kThreadPacks; ++p) {
      const int item = item_of_thread(thread, p);
      const std::uint32_t masked = tile.masked[row][item / 32] >> item % 32;
      Pack<float, kPackLanes> scores;
      MICREC_UNROLL
      for (int lane = 0; lane < kPackLanes; ++lane) {
        const std::int64_t position = place.position + item + lane;
        const float sum = sums && position < call.candidates ? sums[position] : 0;
        const float score = mixed_score(mix, products.of[u][p].values[lane], sum);
        scores.values[lane] = (masked >> lane & 1U) != 0 ? -INFINITY : score;
      }
      *reinterpret_cast<Pack<float, kPackLanes>*>(&tile.scores[row][item]) = scores;
    }
  }
}

/// Adds to a sum that other blocks add to as well.
MICREC_KERNEL_INLINE void add_shared(std::int32_t* sum, std::int32_t number) {
#ifdef __CUDA_ARCH__
  atomicAdd(sum, number);
#else
  *sum += number;
#endif
}

/// Counts those of the tile's scores that are ahead of a positive's.
MICREC_KERNEL_INLINE void count_tile(const RankCall& call, const RankTile& tile,
                                     const TilePlace& place, std::int64_t mix,
                                     std::int64_t positive) {
  const float* const scores = tile.scores[call.positive_user[positive] - place.user];
  const float threshold = call.thresholds[mix * call.positives + positive];
  const float below = nextafterf(threshold, -INFINITY);  // what is not below is above this
  const std::int64_t begin = place.position;
  for (std::int64_t g = 0; g < call.groups; ++g) {
    const auto in_tile = [begin](std::int64_t position) {
      const std::int64_t at = position - begin;
      return static_cast<int>(at < 0 ? 0 : at < kRankItems ? at : kRankItems);
    };
    const int to = in_tile(call.group_begin[g + 1]);
    const int turn = in_tile(call.turns[positive * call.groups + g]);
    std::int32_t count = 0;
    for (int i = in_tile(call.group_begin[g]); i < to; ++i) {
      count += scores[i] > (i < turn ? below : threshold) ? 1 : 0;
    }
    if (count > 0) {
      add_shared(call.ahead + (mix * call.positives + positive) * call.groups + g, count);
    }
  }
}

inline std::int64_t rank_tasks(const RankCall& call) {
  const auto in_parts = [](std::int64_t count, std::int64_t each) {
    return (count + each - 1) / each;
  };
  return in_parts(call.last_user - call.first_user, kRankUsers) *
         in_parts(call.candidates, kRankTiles * kRankItems);
}

/// A block's share of a call, of rank_tasks(): the users of a tile and kRankTiles tiles of items.
template <typename Block>
MICREC_KERNEL_INLINE void rank_task(const Block& block, const RankCall& call, RankTile& tile,
                                    std::int64_t task) {
  const std::int64_t parts = (call.last_user - call.first_user + kRankUsers - 1) / kRankUsers;
  TilePlace place{call.first_user + task % parts * kRankUsers,
                  task / parts * kRankTiles * kRankItems};
  const std::int64_t left = call.candidates - place.position;
  const std::int64_t end =
      place.position + (left < kRankTiles * kRankItems ? left : kRankTiles * kRankItems);
  const std::int64_t last_user =
      place.user + kRankUsers < call.last_user ? place.user + kRankUsers : call.last_user;
  const std::int64_t last_positive = call.positive_offsets[last_user];

  typename Block::template Threads<std::int64_t> next_masked;
  typename Block::template Threads<ThreadProducts> products;
  block.each([&](int thread) {
    const std::int64_t user = place.user + thread;
    if (thread >= kRankUsers || user >= last_user) return;
    next_masked[thread] = first_not_below(call.masked_positions, call.masked_offsets[user],
                                          call.masked_offsets[user + 1], place.position);
  });
  for (; place.position < end; place.position += kRankItems) {
    block.each([&](int thread) {
      products[thread] = ThreadProducts{};
      if (thread >= kRankUsers) return;
      for (std::uint32_t& bits : tile.masked[thread]) bits = 0;
      const std::int64_t user = place.user + thread;
      if (user >= last_user) return;
      std::int64_t& n = next_masked[thread];
      for (; n < call.masked_offsets[user + 1]; ++n) {
        const std::int64_t at = call.masked_positions[n] - place.position;
        if (at >= kRankItems) break;
        tile.masked[thread][at / 32] |= 1U << at % 32;
      }
    });
    for (std::int64_t k = 0; k < call.dim; k += kRankColumns) {
      block.each([&](int thread) { load_columns(call, tile, place, k, thread); });
      block.each([&](int thread) { multiply_columns(tile, thread, products[thread]); });
    }
    for (std::int64_t mix = 0; mix < call.mix_count; ++mix) {
      block.each([&](int thread) {
        write_scores(call, tile, place, call.mixes[mix], products[thread], thread);
      });
      block.each([&](int thread) {
        for (std::int64_t positive = call.positive_offsets[place.user] + thread;
             positive < last_positive; positive += kRankThreads) {
          count_tile(call, tile, place, mix, positive);
        }
      });
    }
  }
}

}  // namespace micrec
