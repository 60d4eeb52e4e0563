#include "evaluate/ranking.h"

#include <glog/logging.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

// One panel of items and one of users stay in the first-level cache, a tile's scores (24 x 512 x 4
// bytes), its items and a block of users in the second. Larger tiles make fewer, longer counts.
constexpr std::int64_t kTilePanels = 16;
constexpr std::int64_t kTileItems = kTilePanels * kItemLanes;
constexpr std::int64_t kTileUserPanels = 2;
constexpr std::int64_t kTileUsers = kTileUserPanels * kUserLanes;
constexpr std::int64_t kBlockUsers = 8 * kTileUsers;
constexpr float kNever = -std::numeric_limits<float>::infinity();

const ScoreKernels& fastest_kernels() {
  static const ScoreKernels& kernels = *available_kernels().front();
  return kernels;
}

/// Refuses rows whose scores would have no order.
void check_scores(const Candidates& candidates, std::span<const float> users, int threads) {
  const double user_norm = largest_row_norm(users, candidates.dim(), threads);
  if (!scores_are_finite(user_norm, candidates.largest_norm())) {
    throw Error(Cause::diverged,
                text("scores are not finite (largest norms: ", user_norm, " of a user, ",
                     candidates.largest_norm(),
                     " of an item), so items cannot be ranked; train again with a lower --lr"));
  }
}

/// Rows `chosen` of `users` as panels of kUserLanes rows, filled up with zeros.
void pack_users(std::span<const float> users, std::int64_t dim,
                std::span<const std::int64_t> chosen, std::vector<float>& panels) {
  const std::int64_t count = static_cast<std::int64_t>(chosen.size());
  const std::int64_t panel_count = (count + kUserLanes - 1) / kUserLanes;
  panels.assign(panel_count * dim * kUserLanes, 0.0F);
  for (std::int64_t r = 0; r < count; ++r) {
    const float* row = users.data() + chosen[r] * dim;
    float* out = panels.data() + (r / kUserLanes) * dim * kUserLanes + r % kUserLanes;
    for (std::int64_t k = 0; k < dim; ++k) out[k * kUserLanes] = row[k];
  }
}

/// A user's masked items as rising positions, with a mark of how far the walk over tiles has come.
struct MaskWalk {
  std::vector<std::int64_t> positions;
  std::size_t next = 0;

  void start(const Candidates& candidates, std::span<const std::int32_t> items) {
    positions.clear();
    next = 0;
    for (const std::int32_t item : items) {
      const std::int64_t position = candidates.position_of(item);
      if (position >= 0) positions.push_back(position);
    }
    std::sort(positions.begin(), positions.end());
  }

  /// Takes the masked items out of the scores of positions [begin, end).
  void apply(std::int64_t begin, std::int64_t end, float* scores) {
    for (; next < positions.size() && positions[next] < end; ++next) {
      scores[positions[next] - begin] = kNever;
    }
  }
};

/// Scores the chosen users against all candidates, tile by tile in rising position, masked items as
/// -infinity, and calls use(index into chosen, first position, positions, scores) for every user
/// and tile.
template <typename Use>
void for_each_tile(const Candidates& candidates, std::span<const float> users,
                   std::span<const std::int64_t> chosen, const ItemLists& masked, const Use& use) {
  const ScoreKernels& kernels = fastest_kernels();
  const std::int64_t dim = candidates.dim();
  const std::int64_t count = static_cast<std::int64_t>(chosen.size());
  std::vector<float> user_panels;
  pack_users(users, dim, chosen, user_panels);
  std::vector<MaskWalk> masks(count);
  for (std::int64_t r = 0; r < count; ++r) masks[r].start(candidates, masked.of(chosen[r]));

  std::vector<float> scores(kTileUsers * kTileItems);
  for (std::int64_t panel = 0; panel < candidates.panels(); panel += kTilePanels) {
    const std::int64_t panels = std::min(kTilePanels, candidates.panels() - panel);
    const std::int64_t begin = panel * kItemLanes;
    const std::int64_t end = std::min(begin + panels * kItemLanes, candidates.size());
    for (std::int64_t first = 0; first < count; first += kTileUsers) {
      const std::int64_t tile_users = std::min(kTileUsers, count - first);
      kernels.score_tile(user_panels.data() + (first / kUserLanes) * dim * kUserLanes,
                         (tile_users + kUserLanes - 1) / kUserLanes, candidates.panel(panel),
                         panels, dim, scores.data());
      for (std::int64_t r = first; r < first + tile_users; ++r) {
        float* row = scores.data() + (r - first) * panels * kItemLanes;
        masks[r].apply(begin, end, row);
        use(r, begin, end - begin, row);
      }
    }
  }
}

/// Calls body(users) with blocks of the chosen users, on several threads.
template <typename Body>
void for_each_block(std::span<const std::int64_t> chosen, int threads, const Body& body) {
  const std::int64_t count = static_cast<std::int64_t>(chosen.size());
  // Blocks are smaller where there are few users, so that every thread has some.
  const std::int64_t share = (count / std::max(threads, 1) + kTileUsers) / kTileUsers * kTileUsers;
  const std::int64_t block = std::min(kBlockUsers, share);
  parallel_for(count, block, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += block) {
      body(chosen.subspan(first, std::min(block, end - first)));
    }
  });
}

}  // namespace

Candidates::Candidates(std::span<const float> rows, std::int64_t dim, std::int64_t first_item,
                       std::span<const std::int32_t> row_of, std::span<const std::uint8_t> group,
                       int groups, int threads)
    : dim_(dim), first_item_(first_item), group_begin_(groups + 1, 0) {
  CHECK_GT(dim, 0);
  const auto items = static_cast<std::int64_t>(row_of.size());
  CHECK_EQ(static_cast<std::int64_t>(rows.size()), items * dim);
  CHECK_EQ(static_cast<std::int64_t>(group.size()), items);

  for (const std::uint8_t g : group) {
    if (g == kExcluded) continue;
    CHECK_LT(g, groups);
    ++group_begin_[g + 1];
  }
  for (int g = 0; g < groups; ++g) group_begin_[g + 1] += group_begin_[g];

  position_.assign(items, -1);
  number_.resize(group_begin_[groups]);
  std::vector<std::int64_t> next(group_begin_.begin(), group_begin_.end() - 1);
  for (std::int64_t i = 0; i < items; ++i) {
    if (group[i] == kExcluded) continue;
    const std::int64_t position = next[group[i]]++;
    position_[i] = static_cast<std::int32_t>(position);
    number_[position] = static_cast<std::int32_t>(first_item + i);
  }

  panels_.assign(panels() * dim * kItemLanes, 0.0F);
  parallel_for(panels(), 64, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin * kItemLanes; p < std::min(end * kItemLanes, size()); ++p) {
      const float* row = rows.data() + row_of[number_[p] - first_item] * dim;
      float* out = panels_.data() + (p / kItemLanes) * dim * kItemLanes + p % kItemLanes;
      for (std::int64_t k = 0; k < dim; ++k) out[k * kItemLanes] = row[k];
    }
  });
  largest_norm_ = largest_row_norm(rows, dim, threads);
}

double largest_row_norm(std::span<const float> rows, std::int64_t dim, int threads) {
  CHECK_GT(dim, 0);
  double largest = 0;
  std::mutex mutex;
  parallel_for(static_cast<std::int64_t>(rows.size()) / dim, 4096, threads,
               [&](std::int64_t begin, std::int64_t end) {
                 double squares = 0;
                 for (std::int64_t r = begin; r < end; ++r) {
                   double sum = 0;
                   for (std::int64_t k = 0; k < dim; ++k) {
                     const double x = rows[r * dim + k];
                     sum += x * x;
                   }
                   if (!(sum <= squares)) squares = std::isnan(sum) ? HUGE_VAL : sum;
                 }
                 const std::lock_guard<std::mutex> lock(mutex);
                 largest = std::max(largest, squares);
               });
  return std::sqrt(largest);
}

bool scores_are_finite(double largest_user_norm, double largest_item_norm) {
  // Half the range leaves room for the rounding of the partial sums. An infinite norm is refused
  // even beside a zero one, whose product with it would not be a number.
  return std::isfinite(largest_user_norm) && std::isfinite(largest_item_norm) &&
         largest_user_norm * largest_item_norm < FLT_MAX / 2;
}

void score_pairs(const Candidates& candidates, std::span<const float> users, const ItemLists& pairs,
                 int threads, std::span<float> scores) {
  const std::int64_t dim = candidates.dim();
  CHECK_EQ(static_cast<std::int64_t>(users.size()), pairs.users() * dim);
  CHECK_EQ(scores.size(), pairs.items.size());
  const ScoreKernels& kernels = fastest_kernels();
  parallel_for(pairs.users(), 256, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t user = begin; user < end; ++user) {
      for (std::int64_t p = pairs.offsets[user]; p < pairs.offsets[user + 1]; ++p) {
        const std::int64_t position = candidates.position_of(pairs.items[p]);
        if (position < 0) continue;
        scores[p] = kernels.score_pair(users.data() + user * dim, 1,
                                       candidates.columns_of(position), kItemLanes, dim);
      }
    }
  });
}

void count_ahead(const Candidates& candidates, std::span<const float> users,
                 const ItemLists& positives, std::span<const float> positive_scores,
                 const ItemLists& masked, int threads, std::span<std::int32_t> ahead) {
  const int groups = candidates.groups();
  CHECK_EQ(static_cast<std::int64_t>(users.size()), positives.users() * candidates.dim());
  CHECK_EQ(masked.users(), positives.users());
  CHECK_EQ(positive_scores.size(), positives.items.size());
  CHECK_EQ(ahead.size(), positives.items.size() * groups);
  check_scores(candidates, users, threads);

  std::vector<std::int64_t> chosen;
  for (std::int64_t user = 0; user < positives.users(); ++user) {
    if (!positives.of(user).empty()) chosen.push_back(user);
  }
  const ScoreKernels& kernels = fastest_kernels();
  for_each_block(chosen, threads, [&](std::span<const std::int64_t> block) {
    // Where a group's items turn from smaller to larger numbers than a positive's: before it an
    // equal score comes ahead of the positive, from it on (the positive itself included) it does
    // not.
    std::vector<std::int64_t> turns;
    std::vector<std::int64_t> turns_begin;
    for (const std::int64_t user : block) {
      turns_begin.push_back(static_cast<std::int64_t>(turns.size()));
      for (const std::int32_t item : positives.of(user)) {
        for (int g = 0; g < groups; ++g) {
          std::int64_t low = candidates.group_begin(g);
          std::int64_t high = candidates.group_begin(g + 1);
          while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            if (candidates.number_at(middle) < item) {
              low = middle + 1;
            } else {
              high = middle;
            }
          }
          turns.push_back(low);
        }
      }
    }
    for_each_tile(
        candidates, users, block, masked,
        [&](std::int64_t r, std::int64_t begin, std::int64_t count, const float* scores) {
          const std::int64_t first = positives.offsets[block[r]];
          const std::int64_t last = positives.offsets[block[r] + 1];
          const std::int64_t* turn = turns.data() + turns_begin[r];
          for (int g = 0; g < groups; ++g) {
            const std::int64_t from = std::max(begin, candidates.group_begin(g));
            const std::int64_t to = std::min(begin + count, candidates.group_begin(g + 1));
            if (from >= to) continue;
            for (std::int64_t p = first; p < last; ++p) {
              const std::int64_t middle = std::clamp(turn[(p - first) * groups + g], from, to);
              std::int32_t& sum = ahead[p * groups + g];
              if (from < middle) {
                sum += kernels.count_at_least(scores + (from - begin), middle - from,
                                              positive_scores[p]);
              }
              if (middle < to) {
                sum +=
                    kernels.count_above(scores + (middle - begin), to - middle, positive_scores[p]);
              }
            }
          }
        });
  });
}

std::vector<std::vector<ScoredItem>> top_k(const Candidates& candidates,
                                           std::span<const float> users, const ItemLists& masked,
                                           std::int64_t k, int threads) {
  CHECK_GE(k, 1);
  CHECK_EQ(static_cast<std::int64_t>(users.size()), masked.users() * candidates.dim());
  check_scores(candidates, users, threads);
  const auto better = [](const ScoredItem& a, const ScoredItem& b) {
    return a.score != b.score ? a.score > b.score : a.item < b.item;
  };
  std::vector<std::int64_t> chosen(masked.users());
  for (std::int64_t user = 0; user < masked.users(); ++user) chosen[user] = user;
  std::vector<std::vector<ScoredItem>> best(masked.users());
  const ScoreKernels& kernels = fastest_kernels();
  for_each_block(chosen, threads, [&](std::span<const std::int64_t> block) {
    for_each_tile(
        candidates, users, block, masked,
        [&](std::int64_t r, std::int64_t begin, std::int64_t count, const float* scores) {
          std::vector<ScoredItem>& heap = best[block[r]];  // The worst of the best is in front.
          const bool full = static_cast<std::int64_t>(heap.size()) == k;
          if (full && kernels.count_at_least(scores, count, heap.front().score) == 0) return;
          for (std::int64_t first = 0; first < count; first += kItemLanes) {
            const std::int64_t last = std::min(first + kItemLanes, count);
            if (static_cast<std::int64_t>(heap.size()) == k &&
                kernels.count_at_least(scores + first, last - first, heap.front().score) == 0) {
              continue;
            }
            for (std::int64_t i = first; i < last; ++i) {
              const ScoredItem item = {candidates.number_at(begin + i), scores[i]};
              if (item.score == kNever) continue;
              if (static_cast<std::int64_t>(heap.size()) < k) {
                heap.push_back(item);
                std::push_heap(heap.begin(), heap.end(), better);
              } else if (better(item, heap.front())) {
                std::pop_heap(heap.begin(), heap.end(), better);
                heap.back() = item;
                std::push_heap(heap.begin(), heap.end(), better);
              }
            }
          }
        });
    for (const std::int64_t user : block)
      std::sort_heap(best[user].begin(), best[user].end(), better);
  });
  return best;
}

}  // namespace micrec
