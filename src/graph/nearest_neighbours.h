#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/number_lists.h"
#include "kernels/scores.h"

namespace micrec {

/// Where the feature rows of one domain's items come from. It is asked for blocks in rising order,
/// possibly more than once.
struct FeatureSource {
  std::int64_t items = 0;
  std::int64_t width = 0;
  /// Writes the rows of items [begin, end), (end - begin) * width numbers; rows of absent items may
  /// hold anything.
  std::function<void(std::int64_t begin, std::int64_t end, float* rows)> read;
};

/// Reads the rows of some items, rising, block by block. Shapes   returns (items, width) float32.
at::Tensor read_rows(const FeatureSource& source, const std::vector<std::int64_t>& items);

/// row / |row|, or zeros. Shapes   row, to: (width). Errors: CHECK on numbers that are not finite.
void to_unit_length(const float* row, std::int64_t width, std::int64_t item, float* to);

/// Exact: for every query item the k eligible items of the same domain with the largest cosine,
/// itself excluded; equal cosines go to the smaller number, a row of zeros has cosine 0 with
/// everything. Fewer than k where fewer are eligible.
///
/// Shapes   queries: (n) item numbers; query_rows: (n, width) float32, their features;
///          eligible: (items) 1 where an item may be a neighbour; returns (n) lists, each rising.
/// Ranks    local: each rank asks for its own items and reads all targets; the answer for an item
///          has the same bits on any rank, among any other queries and with any number of threads.
/// Errors   CHECK on shapes, on k < 1 and on numbers that are not finite.
/// Cost     2 * n * eligible * width operations; memory for one block of targets beside query_rows.
NumberLists nearest_neighbours(const std::vector<std::int64_t>& queries,
                               const at::Tensor& query_rows, const FeatureSource& targets,
                               const std::vector<std::uint8_t>& eligible, int k);

/// The same with the cosines, the largest first.
std::vector<std::vector<ScoredItem>> nearest_with_cosines(const std::vector<std::int64_t>& queries,
                                                          const at::Tensor& query_rows,
                                                          const FeatureSource& targets,
                                                          const std::vector<std::uint8_t>& eligible,
                                                          int k);

/// Only the numbers, rising. Shapes   found: (queries).
NumberLists by_number(const std::vector<std::vector<ScoredItem>>& found);

}  // namespace micrec
