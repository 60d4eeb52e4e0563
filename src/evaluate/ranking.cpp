#include "evaluate/ranking.h"

#include <glog/logging.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

// Users whose rows are packed together, for the second-level cache.
constexpr std::int64_t kBlockUsers = 8 * kTileUsers;

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
      scores[positions[next] - begin] = TopK::kNever;
    }
  }
};

/// Scores the chosen users against all candidates as for_each_tile does, masked items as -infinity;
/// `use` gets the index into chosen for a user.
void for_each_masked_tile(const Candidates& candidates, std::span<const float> users,
                          std::span<const std::int64_t> chosen, const ItemLists& masked,
                          const UseScores& use) {
  const std::int64_t dim = candidates.dim();
  const auto count = static_cast<std::int64_t>(chosen.size());
  const RowPanels panels(
      count, dim, kUserLanes, [&](std::int64_t r) { return users.data() + chosen[r] * dim; }, 1);
  std::vector<MaskWalk> masks(count);
  for (std::int64_t r = 0; r < count; ++r) masks[r].start(candidates, masked.of(chosen[r]));
  for_each_tile(panels, candidates.rows(),
                [&](std::int64_t r, std::int64_t begin, std::int64_t tile, float* scores) {
                  masks[r].apply(begin, begin + tile, scores);
                  use(r, begin, tile, scores);
                });
}

/// Where a group's items turn from smaller to larger numbers than a positive's: before it an equal
/// score comes ahead of the positive, from it on (the positive itself included) it does not.
class Turns {
 public:
  Turns(const Candidates& candidates, const ItemLists& positives,
        std::span<const std::int64_t> users)
      : groups_(candidates.groups()) {
    const auto numbers = candidates.numbers().begin();
    for (const std::int64_t user : users) {
      begins_.push_back(static_cast<std::int64_t>(turns_.size()));
      for (const std::int32_t item : positives.of(user)) {
        for (int g = 0; g < groups_; ++g) {
          turns_.push_back(std::lower_bound(numbers + candidates.group_begin(g),
                                            numbers + candidates.group_begin(g + 1), item) -
                           numbers);
        }
      }
    }
  }

  std::int64_t of(std::int64_t user, std::int64_t positive, int group) const {
    return turns_[begins_[user] + positive * groups_ + group];
  }

 private:
  int groups_;
  std::vector<std::int64_t> turns_;   // (positives of all users, groups) positions
  std::vector<std::int64_t> begins_;  // (users)
};

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
    : first_item_(first_item),
      group_begin_(groups + 1, 0),
      position_(row_of.size(), -1),
      largest_norm_(largest_row_norm(rows, dim, threads)) {
  const auto items = static_cast<std::int64_t>(row_of.size());
  CHECK_EQ(static_cast<std::int64_t>(rows.size()), items * dim);
  CHECK_EQ(static_cast<std::int64_t>(group.size()), items);

  for (const std::uint8_t g : group) {
    if (g == kExcluded) continue;
    CHECK_LT(g, groups);
    ++group_begin_[g + 1];
  }
  for (int g = 0; g < groups; ++g) group_begin_[g + 1] += group_begin_[g];

  number_.resize(group_begin_[groups]);
  std::vector<std::int64_t> next(group_begin_.begin(), group_begin_.end() - 1);
  for (std::int64_t i = 0; i < items; ++i) {
    if (group[i] == kExcluded) continue;
    const std::int64_t position = next[group[i]]++;
    position_[i] = static_cast<std::int32_t>(position);
    number_[position] = static_cast<std::int32_t>(first_item + i);
  }
  const auto row = [&](std::int64_t position) {
    return rows.data() + row_of[number_[position] - first_item] * dim;
  };
  panels_ = RowPanels(size(), dim, kItemLanes, row, threads);
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
  parallel_for(pairs.users(), 256, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t user = begin; user < end; ++user) {
      for (std::int64_t p = pairs.offsets[user]; p < pairs.offsets[user + 1]; ++p) {
        const std::int64_t position = candidates.position_of(pairs.items[p]);
        if (position < 0) continue;
        scores[p] = kernels().score_pair(users.data() + user * dim, 1,
                                         candidates.rows().columns_of(position), kItemLanes, dim);
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
  for_each_block(chosen, threads, [&](std::span<const std::int64_t> block) {
    const Turns turns(candidates, positives, block);
    const auto count = [&](std::int64_t r, std::int64_t begin, std::int64_t tile,
                           const float* scores) {
      const std::int64_t first = positives.offsets[block[r]];
      const std::int64_t last = positives.offsets[block[r] + 1];
      for (int g = 0; g < groups; ++g) {
        const std::int64_t from = std::max(begin, candidates.group_begin(g));
        const std::int64_t to = std::min(begin + tile, candidates.group_begin(g + 1));
        if (from >= to) continue;
        for (std::int64_t p = first; p < last; ++p) {
          const std::int64_t turn = std::clamp(turns.of(r, p - first, g), from, to);
          std::int32_t& sum = ahead[p * groups + g];
          if (from < turn) {
            sum +=
                kernels().count_at_least(scores + (from - begin), turn - from, positive_scores[p]);
          }
          if (turn < to) {
            sum += kernels().count_above(scores + (turn - begin), to - turn, positive_scores[p]);
          }
        }
      }
    };
    for_each_masked_tile(candidates, users, block, masked, count);
  });
}

std::vector<std::vector<ScoredItem>> top_k(const Candidates& candidates,
                                           std::span<const float> users, const ItemLists& masked,
                                           std::int64_t k, int threads) {
  CHECK_GE(k, 1);
  CHECK_EQ(static_cast<std::int64_t>(users.size()), masked.users() * candidates.dim());
  check_scores(candidates, users, threads);
  std::vector<std::int64_t> chosen(masked.users());
  std::iota(chosen.begin(), chosen.end(), 0);
  std::vector<std::vector<ScoredItem>> best(masked.users());
  for_each_block(chosen, threads, [&](std::span<const std::int64_t> block) {
    std::vector<TopK> of_block(block.size(), TopK(k));
    for_each_masked_tile(
        candidates, users, block, masked,
        [&](std::int64_t r, std::int64_t begin, std::int64_t tile, const float* scores) {
          of_block[r].offer(scores, candidates.numbers().data() + begin, tile);
        });
    for (std::size_t r = 0; r < block.size(); ++r) best[block[r]] = of_block[r].take();
  });
  return best;
}

}  // namespace micrec
