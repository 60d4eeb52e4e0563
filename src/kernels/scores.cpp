#include "kernels/scores.h"

#include <algorithm>
#include <utility>

#include "base/parallel.h"

namespace micrec {
namespace {

// One panel of items and one of users stay in the first-level cache, a tile's scores (24 x 512 x 4
// bytes), its items and a block of users in the second. Larger tiles make fewer, longer counts.
constexpr std::int64_t kTilePanels = kTileItems / kItemLanes;

}  // namespace

bool is_better(const ScoredItem& a, const ScoredItem& b) {
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

RowPanels::RowPanels(std::int64_t rows, std::int64_t dim, std::int64_t lanes,
                     const std::function<const float*(std::int64_t)>& row_of)
    : rows_(rows), dim_(dim), lanes_(lanes), values_(panels() * dim * lanes, 0.0F) {
  parallel_for(panels(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin * lanes; r < std::min(end * lanes, rows); ++r) {
      const float* const row = row_of(r);
      float* const to = values_.data() + (r / lanes) * dim * lanes + r % lanes;
      for (std::int64_t k = 0; k < dim; ++k) to[k * lanes] = row[k];
    }
  });
}

void for_each_tile(const RowPanels& users, const RowPanels& items, const UseScores& use) {
  std::vector<float> scores(kTileUsers * kTileItems);
  for (std::int64_t panel = 0; panel < items.panels(); panel += kTilePanels) {
    const std::int64_t panels = std::min(kTilePanels, items.panels() - panel);
    const std::int64_t begin = panel * kItemLanes;
    const std::int64_t count = std::min(panels * kItemLanes, items.rows() - begin);
    for (std::int64_t first = 0; first < users.rows(); first += kTileUsers) {
      const std::int64_t tile_users = std::min(kTileUsers, users.rows() - first);
      kernels().score_tile({users.panel(first / kUserLanes),
                            (tile_users + kUserLanes - 1) / kUserLanes, items.panel(panel), panels,
                            items.dim(), scores.data()});
      for (std::int64_t u = 0; u < tile_users; ++u) {
        use(first + u, begin, count, scores.data() + u * panels * kItemLanes);
      }
    }
  }
}

void TopK::offer(const float* scores, const std::int32_t* items, std::int64_t count) {
  const auto none_enters = [&](std::int64_t begin, std::int64_t end) {
    return is_full() &&
           kernels().count_at_least(scores + begin, end - begin, heap_.front().score) == 0;
  };
  if (none_enters(0, count)) return;
  for (std::int64_t first = 0; first < count; first += kItemLanes) {
    const std::int64_t last = std::min(first + kItemLanes, count);
    if (none_enters(first, last)) continue;
    for (std::int64_t i = first; i < last; ++i) {
      const ScoredItem item = {items[i], scores[i]};
      if (item.score == kNever) continue;
      if (is_full()) {
        if (!is_better(item, heap_.front())) continue;
        std::pop_heap(heap_.begin(), heap_.end(), is_better);
        heap_.back() = item;
      } else {
        heap_.push_back(item);
      }
      std::push_heap(heap_.begin(), heap_.end(), is_better);
    }
  }
}

std::vector<ScoredItem> TopK::take() {
  std::sort_heap(heap_.begin(), heap_.end(), is_better);
  return std::move(heap_);
}

}  // namespace micrec
