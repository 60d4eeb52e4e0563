#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

/// Rows as the kernels read them: panels of a fixed number of rows, column by column, so that one
/// load brings the same column of neighbouring rows. Column k of row r of a panel of width w is at
/// [k * w + r].
inline constexpr std::int64_t kItemLanes = 32;  // items a panel: two AVX-512 registers
inline constexpr std::int64_t kUserLanes =
    12;  // users a panel: 2 x 12 accumulators fill the registers

/// Dot products and comparisons for one instruction set.
///
/// A score is the sum over columns 0, 1, 2, ... with one fused multiply-add each, in float32, from
/// zero. Its bits therefore depend on the two rows alone: neither on the tile, the instruction set
/// nor the number of threads.
struct ScoreKernels {
  const char* instruction_set;

  /// All scores of a tile.
  ///
  /// Shapes   users: (user_panels, dim, kUserLanes); items: (item_panels, dim, kItemLanes);
  ///          scores: (user_panels * kUserLanes, item_panels * kItemLanes), written.
  void (*score_tile)(const float* users, std::int64_t user_panels, const float* items,
                     std::int64_t item_panels, std::int64_t dim, float* scores);

  /// The score of one pair; column k of a row is at [k * stride].
  float (*score_pair)(const float* user, std::int64_t user_stride, const float* item,
                      std::int64_t item_stride, std::int64_t dim);

  /// How many of `count` scores are above (at least) a threshold.
  std::int32_t (*count_above)(const float* scores, std::int64_t count, float threshold);
  std::int32_t (*count_at_least)(const float* scores, std::int64_t count, float threshold);
};

/// The kernels this processor can run, the fastest first; the last one runs everywhere.
std::vector<const ScoreKernels*> available_kernels();

}  // namespace micrec
