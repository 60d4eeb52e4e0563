#include "graph/nearest_neighbours.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/packed_matrix.h"
#include "kernels/scores.h"

namespace micrec {
namespace {

// Targets read at a time, and the part of them whose scores against some queries are looked at
// together: queries, targets and scores of such a tile fit into the second-level cache.
constexpr std::int64_t kReadTargets = 4096;
constexpr std::int64_t kTileTargets = 512;
constexpr std::int64_t kTileQueries = 112;

// Some targets, laid out for their scores against any queries.
struct Targets {
  std::vector<std::int32_t> items;  // rising
  std::vector<PackedMatrix> tiles;  // (width, kTileTargets), fewer in the last
};

// The eligible ones of the items [begin, end), of which `rows` has room for all.
Targets read_targets(const FeatureSource& source, const std::vector<std::uint8_t>& eligible,
                     std::int64_t begin, std::int64_t end, std::vector<float>& rows) {
  const std::int64_t width = source.width;
  Targets targets;
  for (std::int64_t item = begin; item < end; ++item) {
    if (eligible[item]) targets.items.push_back(static_cast<std::int32_t>(item));
  }
  if (targets.items.empty()) return targets;
  source.read(begin, end, rows.data());
  const auto count = static_cast<std::int64_t>(targets.items.size());
  for (std::int64_t t = 0; t < count; ++t) {  // Never moves a row over one that is still to come.
    const std::int32_t item = targets.items[t];
    to_unit_length(rows.data() + (item - begin) * width, width, item, rows.data() + t * width);
  }
  for (std::int64_t t = 0; t < count; t += kTileTargets) {
    targets.tiles.emplace_back(rows.data() + t * width, width, std::min(kTileTargets, count - t), 1,
                               width);
  }
  return targets;
}

// Offers the targets to the queries [first, last), of which best[first] is the first's.
void offer(const Targets& targets, const std::vector<std::int64_t>& queries,
           const float* query_rows, std::int64_t width, std::int64_t first, std::int64_t last,
           std::vector<TopK>& best) {
  std::vector<float> normalised(kTileQueries * width);
  std::vector<float> scores(kTileQueries * kTileTargets);
  for (; first < last; first += kTileQueries) {
    const std::int64_t some = std::min(kTileQueries, last - first);
    for (std::int64_t q = 0; q < some; ++q) {
      to_unit_length(query_rows + (first + q) * width, width, queries[first + q],
                     normalised.data() + q * width);
    }
    const std::int32_t* items = targets.items.data();
    for (const PackedMatrix& tile : targets.tiles) {
      tile.multiply(normalised.data(), width, 1, some, false, scores.data(), kTileTargets);
      const std::int32_t* const end = items + tile.columns();
      for (std::int64_t q = 0; q < some; ++q) {
        float* const of_query = scores.data() + q * kTileTargets;
        const std::int32_t* const own = std::lower_bound(items, end, queries[first + q]);
        if (own != end && *own == queries[first + q]) of_query[own - items] = TopK::kNever;
        best[first + q].offer(of_query, items, tile.columns());
      }
      items = end;
    }
  }
}

}  // namespace

at::Tensor read_rows(const FeatureSource& source, const std::vector<std::int64_t>& items) {
  at::Tensor rows = at::empty({static_cast<std::int64_t>(items.size()), source.width}, at::kFloat);
  std::vector<float> block(std::min(kReadTargets, source.items) * source.width);
  std::size_t next = 0;
  for (std::int64_t begin = 0; next < items.size(); begin += kReadTargets) {
    const std::int64_t end = std::min(source.items, begin + kReadTargets);
    if (items[next] >= end) continue;
    source.read(begin, end, block.data());
    for (; next < items.size() && items[next] < end; ++next) {
      std::copy_n(block.data() + (items[next] - begin) * source.width, source.width,
                  rows.mutable_data_ptr<float>() + static_cast<std::int64_t>(next) * source.width);
    }
  }
  return rows;
}

void to_unit_length(const float* row, std::int64_t width, std::int64_t item, float* to) {
  double squares = 0;
  for (std::int64_t c = 0; c < width; ++c) squares += static_cast<double>(row[c]) * row[c];
  CHECK(std::isfinite(squares)) << "the features of item " << item << " are not finite";
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (std::int64_t c = 0; c < width; ++c) to[c] = static_cast<float>(row[c] * scale);
}

NumberLists by_number(const std::vector<std::vector<ScoredItem>>& found) {
  NumberLists result;
  for (const std::vector<ScoredItem>& of_query : found) {
    std::vector<std::int32_t> items;
    for (const ScoredItem& one : of_query) items.push_back(one.item);
    std::ranges::sort(items);
    result.add(items);
  }
  return result;
}

std::vector<std::vector<ScoredItem>> nearest_with_cosines(const std::vector<std::int64_t>& queries,
                                                          const at::Tensor& query_rows,
                                                          const FeatureSource& targets,
                                                          const std::vector<std::uint8_t>& eligible,
                                                          int k) {
  const auto query_count = static_cast<std::int64_t>(queries.size());
  const std::int64_t width = targets.width;
  CHECK_GE(k, 1);
  CHECK_GE(width, 1);
  CHECK(query_rows.dim() == 2 && query_rows.size(0) == query_count && query_rows.size(1) == width &&
        query_rows.scalar_type() == at::kFloat && query_rows.device().is_cpu());
  CHECK_EQ(static_cast<std::int64_t>(eligible.size()), targets.items);
  if (query_count == 0) return {};

  const at::Tensor query_features = query_rows.detach().contiguous();
  const float* const query_data = query_features.const_data_ptr<float>();
  std::vector<TopK> best(query_count, TopK(k));
  std::vector<float> rows(std::min(kReadTargets, targets.items) * width);
  for (std::int64_t begin = 0; begin < targets.items; begin += kReadTargets) {
    const std::int64_t end = std::min(targets.items, begin + kReadTargets);
    const Targets some = read_targets(targets, eligible, begin, end, rows);
    if (some.items.empty()) continue;
    parallel_for(query_count, kTileQueries, [&](std::int64_t first, std::int64_t last) {
      offer(some, queries, query_data, width, first, last, best);
    });
  }
  std::vector<std::vector<ScoredItem>> found;
  for (TopK& of_query : best) found.push_back(of_query.take());
  return found;
}

NumberLists nearest_neighbours(const std::vector<std::int64_t>& queries,
                               const at::Tensor& query_rows, const FeatureSource& targets,
                               const std::vector<std::uint8_t>& eligible, int k) {
  return by_number(nearest_with_cosines(queries, query_rows, targets, eligible, k));
}

}  // namespace micrec
