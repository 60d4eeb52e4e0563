#include "graph/nearest_neighbours.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "kernels/packed_matrix.h"

namespace micrec {
namespace {

// Targets read at a time, and the part of them whose scores against some queries are looked at
// together: queries, targets and scores of such a tile fit into the second-level cache.
constexpr std::int64_t kReadTargets = 4096;
constexpr std::int64_t kTileTargets = 512;
constexpr std::int64_t kTileQueries = 112;
constexpr int kScanned = 16;  // scores compared at a time

// row / |row|, or zeros.
void normalise(const float* row, std::int64_t width, std::int64_t item, float* to) {
  double squares = 0;
  for (std::int64_t c = 0; c < width; ++c) squares += static_cast<double>(row[c]) * row[c];
  CHECK(std::isfinite(squares)) << "the features of item " << item << " are not finite";
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (std::int64_t c = 0; c < width; ++c) to[c] = static_cast<float>(row[c] * scale);
}

// The best targets of every query so far, the best first; of equal scores the one that came first.
class BestTargets {
 public:
  BestTargets(std::int64_t queries, int k)
      : k_(k), counts_(queries), scores_(queries * k), items_(queries * k) {}

  // Offers targets in rising order of their numbers, which are items[0 .. count).
  void offer(std::int64_t query, std::int64_t own_item, const float* scores,
             const std::int32_t* items, std::int64_t count) {
    std::int64_t t = 0;
    float least = threshold(query);
    for (; t + kScanned <= count; t += kScanned) {
      bool any = false;
      for (int s = 0; s < kScanned; ++s) any |= scores[t + s] > least;
      if (!any) continue;
      for (int s = 0; s < kScanned; ++s) {
        if (scores[t + s] > least) insert(query, own_item, scores[t + s], items[t + s]);
      }
      least = threshold(query);
    }
    for (; t < count; ++t) {
      if (scores[t] > threshold(query)) insert(query, own_item, scores[t], items[t]);
    }
  }

  NearestNeighbours sorted() const {
    NearestNeighbours result;
    for (std::size_t q = 0; q < counts_.size(); ++q) {
      const auto begin = items_.begin() + static_cast<std::int64_t>(q) * k_;
      result.neighbours.insert(result.neighbours.end(), begin, begin + counts_[q]);
      std::sort(result.neighbours.end() - counts_[q], result.neighbours.end());
      result.offsets.push_back(static_cast<std::int64_t>(result.neighbours.size()));
    }
    return result;
  }

 private:
  // A score must be above this to count.
  float threshold(std::int64_t query) const {
    return counts_[query] < k_ ? -std::numeric_limits<float>::infinity()
                               : scores_[query * k_ + k_ - 1];
  }

  void insert(std::int64_t query, std::int64_t own_item, float score, std::int32_t item) {
    if (item == own_item || score <= threshold(query)) return;
    float* const scores = scores_.data() + query * k_;
    std::int32_t* const items = items_.data() + query * k_;
    int place = counts_[query] < k_ ? counts_[query]++ : k_ - 1;
    for (; place > 0 && scores[place - 1] < score; --place) {
      scores[place] = scores[place - 1];
      items[place] = items[place - 1];
    }
    scores[place] = score;
    items[place] = item;
  }

  int k_;
  std::vector<int> counts_;
  std::vector<float> scores_;
  std::vector<std::int32_t> items_;
};

}  // namespace

NearestNeighbours nearest_neighbours(const std::vector<std::int64_t>& queries,
                                     const at::Tensor& query_rows, const FeatureSource& targets,
                                     const std::vector<std::uint8_t>& eligible, int k,
                                     int threads) {
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
  BestTargets best(query_count, k);
  std::vector<float> rows(std::min(kReadTargets, targets.items) * width);
  std::vector<std::int32_t> items;
  for (std::int64_t begin = 0; begin < targets.items; begin += kReadTargets) {
    const std::int64_t end = std::min(targets.items, begin + kReadTargets);
    items.clear();
    for (std::int64_t item = begin; item < end; ++item) {
      if (eligible[item]) items.push_back(static_cast<std::int32_t>(item));
    }
    if (items.empty()) continue;
    targets.read(begin, end, rows.data());
    const auto count = static_cast<std::int64_t>(items.size());
    for (std::int64_t t = 0; t < count; ++t) {  // Never moves a row over one that is still to come.
      normalise(rows.data() + (items[t] - begin) * width, width, items[t], rows.data() + t * width);
    }
    std::vector<PackedMatrix> tiles;
    for (std::int64_t t = 0; t < count; t += kTileTargets) {
      tiles.emplace_back(rows.data() + t * width, width, std::min(kTileTargets, count - t), 1,
                         width, threads);
    }
    parallel_for(query_count, kTileQueries, threads, [&](std::int64_t first, std::int64_t last) {
      std::vector<float> normalised(kTileQueries * width);
      std::vector<float> scores(kTileQueries * kTileTargets);
      for (; first < last; first += kTileQueries) {
        const std::int64_t some = std::min(kTileQueries, last - first);
        for (std::int64_t q = 0; q < some; ++q) {
          normalise(query_data + (first + q) * width, width, queries[first + q],
                    normalised.data() + q * width);
        }
        for (std::size_t tile = 0; tile < tiles.size(); ++tile) {
          tiles[tile].multiply(normalised.data(), width, 1, some, false, scores.data(),
                               kTileTargets);
          for (std::int64_t q = 0; q < some; ++q) {
            best.offer(first + q, queries[first + q], scores.data() + q * kTileTargets,
                       items.data() + static_cast<std::int64_t>(tile) * kTileTargets,
                       tiles[tile].columns());
          }
        }
      }
    });
  }
  return best.sorted();
}

}  // namespace micrec
