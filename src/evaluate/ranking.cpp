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

// Positions whose linear terms are summed at a time, 3 MiB for a block of users: a walk looks at
// every item of a history once for them, which costs more than the additions where there are few.
constexpr std::int64_t kSummedItems = 8 * kTileItems;

bool has_linear_term(std::span<const ScoreMix> mixes) {
  return std::any_of(mixes.begin(), mixes.end(),
                     [](const ScoreMix& mix) { return !mix.is_product_alone(); });
}

/// The scores of a mix from its two terms. Shapes: (count) each.
void mix_terms(const ScoreMix& mix, const float* products, const float* sums, std::int64_t count,
               float* scores) {
  if (!mix.embeddings) {
    CHECK(sums != nullptr);
    std::copy(sums, sums + count, scores);
  } else if (mix.regression == 0) {
    CHECK(products != nullptr);
    std::copy(products, products + count, scores);
  } else {
    kernels().mix_scores(products, sums, mix.regression, count, scores);
  }
}

/// Refuses scores that would have no order.
void check_scores(const Candidates& candidates, const RankedUsers& users,
                  std::span<const ScoreMix> mixes) {
  const double user_norm = largest_row_norm(users.rows, candidates.dim());
  double linear_term = 0;
  if (has_linear_term(mixes)) {
    std::size_t longest = 0;
    for (std::size_t u = 0; u < users.history_of.size(); ++u) {
      longest = std::max(longest, users.history(static_cast<std::int64_t>(u)).items.size());
    }
    linear_term =
        largest_linear_term(mixes, static_cast<double>(longest), candidates.largest_coefficient());
  }
  refuse_infinite_scores(user_norm, candidates.largest_norm(), linear_term);
}

/// A user's masked items as rising positions, with a mark of how far the walk over tiles has come.
struct MaskWalk {
  std::vector<std::int64_t> positions;
  std::size_t next = 0;
  std::size_t last = 0;

  void start(const Candidates& candidates, std::span<const std::int32_t> items) {
    positions.clear();
    next = last = 0;
    for (const std::int32_t item : items) {
      const std::int64_t position = candidates.position_of(item);
      if (position >= 0) positions.push_back(position);
    }
    std::sort(positions.begin(), positions.end());
  }

  /// Goes on to the positions before `end`.
  void advance(std::int64_t end) {
    next = last;
    while (last < positions.size() && positions[last] < end) ++last;
  }

  /// Takes the masked items out of the scores of positions from `begin` to the last advance's end.
  void apply(std::int64_t begin, float* scores) const {
    for (std::size_t n = next; n < last; ++n) scores[positions[n] - begin] = TopK::kNever;
  }
};

/// Whose scores are made: which of the users, and what is out of their ranking.
struct Chosen {
  const RankedUsers& users;
  std::span<const std::int64_t> numbers;  // of those chosen, among the users
  const NumberLists& masked;
};

/// Scores the chosen users against all candidates, tile by tile as for_each_tile does, masked items
/// as -infinity, once a mix: use(r, mix, begin, count, scores) gets the index into chosen for a
/// user and the scores of `count` positions.
template <typename Use>
void for_each_scored_tile(const Candidates& candidates, const Chosen& chosen,
                          std::span<const ScoreMix> mixes, const Use& use) {
  const std::int64_t dim = candidates.dim();
  const auto count = static_cast<std::int64_t>(chosen.numbers.size());
  const auto row = [&](std::int64_t r) {
    return chosen.users.rows.data() + chosen.numbers[r] * dim;
  };
  const RowPanels panels(count, dim, kUserLanes, row);
  const bool linear = has_linear_term(mixes);
  std::vector<MaskWalk> masks(count);
  std::vector<HistoryWalk> walks(linear ? count : 0);
  for (std::int64_t r = 0; r < count; ++r) {
    masks[r].start(candidates, chosen.masked.of(chosen.numbers[r]));
    if (linear) walks[r].start(candidates.sources(), chosen.users.history(chosen.numbers[r]));
  }
  std::vector<float> sums(linear ? count * kSummedItems : 0);  // (users, kSummedItems)
  std::vector<float> scores(kTileItems);                       // of one mix
  for_each_tile(panels, candidates.rows(),
                [&](std::int64_t r, std::int64_t begin, std::int64_t tile, float* products) {
                  masks[r].advance(begin + tile);
                  const float* of_tile = nullptr;
                  if (linear) {
                    float* const of_user = sums.data() + r * kSummedItems;
                    const std::int64_t at = begin % kSummedItems;
                    if (at == 0) {
                      walks[r].next(begin, std::min(begin + kSummedItems, candidates.size()),
                                    of_user);
                    }
                    of_tile = of_user + at;
                  }
                  for (std::size_t m = 0; m < mixes.size(); ++m) {
                    float* of_mix = products;
                    if (mixes.size() > 1 || linear) {
                      of_mix = scores.data();
                      mix_terms(mixes[m], products, of_tile, tile, of_mix);
                    }
                    masks[r].apply(begin, of_mix);
                    use(r, m, begin, tile, of_mix);
                  }
                });
}

/// Where a group's items turn from smaller to larger numbers than a positive's: before it an equal
/// score comes ahead of the positive, from it on (the positive itself included) it does not.
class Turns {
 public:
  Turns(const Candidates& candidates, const NumberLists& positives,
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
void for_each_block(std::span<const std::int64_t> chosen, const Body& body) {
  const std::int64_t count = static_cast<std::int64_t>(chosen.size());
  // Blocks are smaller where there are few users, so that every thread has some.
  const std::int64_t share = (count / compute_threads() + kTileUsers) / kTileUsers * kTileUsers;
  const std::int64_t block = std::min(kBlockUsers, share);
  parallel_for(count, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += block) {
      body(chosen.subspan(first, std::min(block, end - first)));
    }
  });
}

}  // namespace

NumberLists candidate_order(std::int64_t first_item, std::span<const std::uint8_t> group,
                            int groups) {
  return lists_of<std::int32_t>(groups, [&](const auto& use) {
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (group[i] == Candidates::kExcluded) continue;
      CHECK_LT(group[i], groups);
      use(group[i], static_cast<std::int32_t>(first_item + i));
    }
  });
}

Candidates::Candidates(std::span<const float> rows, std::int64_t dim, std::int64_t first_item,
                       std::span<const std::int32_t> row_of, std::span<const std::uint8_t> group,
                       int groups, SparseRows coefficients)
    : first_item_(first_item),
      order_(candidate_order(first_item, group, groups)),
      position_(row_of.size(), -1),
      largest_norm_(largest_row_norm(rows, dim)),
      coefficients_(std::move(coefficients)),
      largest_coefficient_(largest_absolute(coefficients_.value)) {
  const auto items = static_cast<std::int64_t>(row_of.size());
  CHECK_EQ(static_cast<std::int64_t>(rows.size()), items * dim);
  CHECK(coefficients_.rows() == items || coefficients_.rows() == 0);
  CHECK_EQ(static_cast<std::int64_t>(group.size()), items);

  for (std::int64_t position = 0; position < size(); ++position) {
    position_[order_.values[position] - first_item] = static_cast<std::int32_t>(position);
  }
  const auto row = [&](std::int64_t position) {
    return rows.data() + row_of[order_.values[position] - first_item] * dim;
  };
  panels_ = RowPanels(size(), dim, kItemLanes, row);
  if (coefficients_.rows() == 0) return;
  for (const std::int32_t number : order_.values) {
    coefficients_row_.push_back(row_of[number - first_item]);
  }
  sources_ = SourceRows(coefficients_, coefficients_row_);
}

float Candidates::history_sum_of(std::int64_t position, const WeightedHistory& history) const {
  if (coefficients_row_.empty()) return 0;
  const std::int32_t row = coefficients_row_[position];
  const std::int64_t begin = coefficients_.offsets[row];
  const std::int64_t count = coefficients_.offsets[row + 1] - begin;
  return history_sum(std::span(coefficients_.column).subspan(begin, count),
                     std::span(coefficients_.value).subspan(begin, count), history);
}

double largest_row_norm(std::span<const float> rows, std::int64_t dim) {
  if (dim == 0) return 0;
  double largest = 0;
  std::mutex mutex;
  parallel_for(static_cast<std::int64_t>(rows.size()) / dim, 4096,
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

double largest_absolute(std::span<const float> values) {
  double largest = 0;
  for (const float value : values) {
    const double size = std::abs(static_cast<double>(value));
    if (!(size <= largest)) largest = std::isnan(size) ? HUGE_VAL : size;
  }
  return largest;
}

void refuse_infinite_scores(double largest_user_norm, double largest_item_norm,
                            double largest_linear_term) {
  // Half the range leaves room for the rounding of the partial sums. An infinite norm is refused
  // even beside a zero one, whose product with it would not be a number.
  if (std::isfinite(largest_user_norm) && std::isfinite(largest_item_norm) &&
      largest_user_norm * largest_item_norm + largest_linear_term < FLT_MAX / 2) {
    return;
  }
  throw Error(
      Cause::diverged, "scores are not finite (largest norms of embeddings: ", largest_user_norm,
      " of a user, ", largest_item_norm, " of an item; largest linear term: ", largest_linear_term,
      "), so items cannot be ranked; train again with a lower --lr");
}

double largest_linear_term(std::span<const ScoreMix> mixes, double longest_history,
                           double largest_coefficient) {
  // The sum must be finite before it is weighed, too.
  double weight = 1;
  for (const ScoreMix& mix : mixes) {
    const double size = std::abs(static_cast<double>(mix.regression));
    if (!(size <= weight)) weight = std::isnan(size) ? HUGE_VAL : size;
  }
  return weight * (1 + longest_history) * largest_coefficient;
}

void score_pairs(const Candidates& candidates, const RankedUsers& users, const NumberLists& pairs,
                 std::span<const ScoreMix> mixes, std::span<float> scores) {
  const std::int64_t dim = candidates.dim();
  CHECK_EQ(static_cast<std::int64_t>(users.rows.size()), pairs.size() * dim);
  CHECK_EQ(scores.size(), mixes.size() * pairs.values.size());
  const bool linear = has_linear_term(mixes);
  parallel_for(pairs.size(), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t user = begin; user < end; ++user) {
      for (std::int64_t p = pairs.offsets[user]; p < pairs.offsets[user + 1]; ++p) {
        const std::int64_t position = candidates.position_of(pairs.values[p]);
        if (position < 0) continue;
        const float product =
            kernels().score_pair(users.rows.data() + user * dim, 1,
                                 candidates.rows().columns_of(position), kItemLanes, dim);
        const float sum = linear ? candidates.history_sum_of(position, users.history(user)) : 0.F;
        for (std::size_t m = 0; m < mixes.size(); ++m) {
          mix_terms(mixes[m], &product, &sum, 1, &scores[m * pairs.values.size() + p]);
        }
      }
    }
  });
}

void count_ahead(const Candidates& candidates, const RankedUsers& users,
                 const NumberLists& positives, std::span<const ScoreMix> mixes,
                 std::span<const float> positive_scores, const NumberLists& masked,
                 std::span<std::int32_t> ahead, const std::function<bool()>& stop) {
  const int groups = candidates.groups();
  const std::size_t pairs = positives.values.size();
  CHECK_EQ(static_cast<std::int64_t>(users.rows.size()), positives.size() * candidates.dim());
  CHECK_EQ(masked.size(), positives.size());
  CHECK_EQ(positive_scores.size(), mixes.size() * pairs);
  CHECK_EQ(ahead.size(), mixes.size() * pairs * groups);
  check_scores(candidates, users, mixes);

  std::vector<std::int64_t> chosen;
  for (std::int64_t user = 0; user < positives.size(); ++user) {
    if (!positives.of(user).empty()) chosen.push_back(user);
  }
  for_each_block(chosen, [&](std::span<const std::int64_t> block) {
    if (stop && stop()) return;
    const Turns turns(candidates, positives, block);
    const auto count = [&](std::int64_t r, std::size_t mix, std::int64_t begin, std::int64_t tile,
                           const float* scores) {
      const float* const thresholds = positive_scores.data() + mix * pairs;
      std::int32_t* const counts = ahead.data() + mix * pairs * groups;
      const std::int64_t first = positives.offsets[block[r]];
      const std::int64_t last = positives.offsets[block[r] + 1];
      for (int g = 0; g < groups; ++g) {
        const std::int64_t from = std::max(begin, candidates.group_begin(g));
        const std::int64_t to = std::min(begin + tile, candidates.group_begin(g + 1));
        if (from >= to) continue;
        for (std::int64_t p = first; p < last; ++p) {
          const std::int64_t turn = std::clamp(turns.of(r, p - first, g), from, to);
          std::int32_t& sum = counts[p * groups + g];
          if (from < turn) {
            sum += kernels().count_at_least(scores + (from - begin), turn - from, thresholds[p]);
          }
          if (turn < to) {
            sum += kernels().count_above(scores + (turn - begin), to - turn, thresholds[p]);
          }
        }
      }
    };
    for_each_scored_tile(candidates, {users, block, masked}, mixes, count);
  });
}

std::vector<std::vector<ScoredItem>> top_k(const Candidates& candidates, const RankedUsers& users,
                                           const NumberLists& masked, const ScoreMix& mix,
                                           std::int64_t k, std::span<const std::uint8_t> allowed) {
  CHECK_GE(k, 1);
  CHECK_EQ(static_cast<std::int64_t>(users.rows.size()), masked.size() * candidates.dim());
  const std::span<const ScoreMix> mixes(&mix, 1);
  check_scores(candidates, users, mixes);
  std::vector<std::int64_t> chosen(masked.size());
  std::iota(chosen.begin(), chosen.end(), 0);
  std::vector<std::vector<ScoredItem>> best(masked.size());
  for_each_block(chosen, [&](std::span<const std::int64_t> block) {
    std::vector<TopK> of_block(block.size(), TopK(k));
    for_each_scored_tile(candidates, {users, block, masked}, mixes,
                         [&](std::int64_t r, std::size_t /*mix*/, std::int64_t begin,
                             std::int64_t tile, float* scores) {
                           const std::int32_t* const numbers = candidates.numbers().data() + begin;
                           if (!allowed.empty()) {
                             for (std::int64_t n = 0; n < tile; ++n) {
                               if (allowed[numbers[n]] == 0) scores[n] = TopK::kNever;
                             }
                           }
                           of_block[r].offer(scores, numbers, tile);
                         });
    for (std::size_t r = 0; r < block.size(); ++r) best[block[r]] = of_block[r].take();
  });
  return best;
}

}  // namespace micrec
