#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/number_lists.h"
#include "kernels/sparse_rows.h"

// The linear term of a score: the sum of an item's coefficients over a person's history, each times
// what the item of the history counts, in float32 from zero, one addition for each in rising order
// of their numbers. Its bits depend on the coefficients and the history alone.
namespace micrec {

/// What a person interacted with, and how much each of it counts.
struct WeightedHistory {
  std::span<const std::int32_t> items;  // (n) rising
  std::span<const float> weights = {};  // (n), or none: each is 1

  float weight(std::size_t n) const { return weights.empty() ? 1.F : weights[n]; }
};

/// The sum over the items of a history that a row has a coefficient for.
///
/// Shapes   columns: (n) rising, values: (n).
float history_sum(std::span<const std::int32_t> columns, std::span<const float> values,
                  const WeightedHistory& history);

/// Coefficients by source item: what each item of a history adds, and to which positions.
class SourceRows {
 public:
  struct Entry {
    std::int32_t position;
    float value;
  };

  SourceRows() = default;
  /// Position p has the coefficients of row row_of[p], whose columns are the sources.
  ///
  /// Cost     two passes; 8 bytes a coefficient and a source.
  SourceRows(const SparseRows& rows, std::span<const std::int32_t> row_of);

  /// By rising position; none for a source that no position has a coefficient for.
  std::span<const Entry> of(std::int32_t source) const {
    return source < entries_.size() ? entries_.of(source) : std::span<const Entry>();
  }

 private:
  Lists<Entry> entries_;  // (sources)
};

/// The sums of one history at all positions, made part by part in rising order, so that no more
/// than a part of them is ever stored. The source rows outlive it.
class HistoryWalk {
 public:
  void start(const SourceRows& sources, const WeightedHistory& history);

  /// The sums of positions [begin, end), which come after those of the last call.
  ///
  /// Shapes   sums: (end - begin), overwritten.
  /// Cost     an addition a coefficient, a look at each source that is not over.
  void next(std::int64_t begin, std::int64_t end, float* sums);

 private:
  /// What is left of a source's row.
  struct Run {
    const SourceRows::Entry* next;
    const SourceRows::Entry* end;
    std::int32_t position;  // of `next`: most looks need nothing else
    float weight;
  };
  std::vector<Run> left_;  // by rising source
};

}  // namespace micrec
