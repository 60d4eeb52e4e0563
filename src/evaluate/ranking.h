#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/number_lists.h"
#include "kernels/history_sums.h"
#include "kernels/score_mix.h"
#include "kernels/scores.h"
#include "kernels/sparse_rows.h"

namespace micrec {

/// The numbers of the candidates by position: a list a group, rising. Of the items first_item,
/// first_item + 1, ... Shapes: group (items), as Candidates takes it.
NumberLists candidate_order(std::int64_t first_item, std::span<const std::uint8_t> group,
                            int groups);

/// The items that users choose among, packed for the kernels and divided into groups that can be
/// counted apart.
class Candidates {
 public:
  /// An item of this group is no candidate.
  static constexpr std::uint8_t kExcluded = 255;

  /// The items first_item, first_item + 1, ...; item first_item + i has row row_of[i], of both the
  /// embeddings and the coefficients.
  ///
  /// Shapes   rows: (items, dim) float32, dim may be 0 where no mix takes embeddings;
  ///          row_of: (items); group: (items) below `groups`, or kExcluded;
  ///          coefficients: (items) rows of source items numbered over all domains, or none.
  /// Cost     A copy of the rows, and of the coefficients by source.
  Candidates(std::span<const float> rows, std::int64_t dim, std::int64_t first_item,
             std::span<const std::int32_t> row_of, std::span<const std::uint8_t> group, int groups,
             SparseRows coefficients = {});

  std::int64_t dim() const { return panels_.dim(); }
  std::int64_t size() const { return static_cast<std::int64_t>(order_.values.size()); }
  int groups() const { return static_cast<int>(order_.size()); }

  /// Positions are by group, and by item number within a group; numbers() has those of all.
  std::int64_t group_begin(int group) const { return order_.offsets[group]; }
  std::span<const std::int32_t> numbers() const { return order_.values; }
  /// Position of an item, or -1 where it is not among these candidates.
  std::int64_t position_of(std::int32_t item) const {
    const std::int64_t i = item - first_item_;
    return i >= 0 && i < static_cast<std::int64_t>(position_.size()) ? position_[i] : -1;
  }

  /// In panels of kItemLanes positions.
  const RowPanels& rows() const { return panels_; }
  double largest_norm() const { return largest_norm_; }

  /// The linear term of the item at a position, for somebody with this history.
  float history_sum_of(std::int64_t position, const WeightedHistory& history) const;
  /// The coefficients by source item, to positions.
  const SourceRows& sources() const { return sources_; }
  double largest_coefficient() const { return largest_coefficient_; }  ///< absolute

 private:
  std::int64_t first_item_;
  NumberLists order_;
  std::vector<std::int32_t> position_;  // (items) position, or -1
  RowPanels panels_;                    // (candidates, dim)
  double largest_norm_ = 0;
  SparseRows coefficients_;                     // (items), or none
  std::vector<std::int32_t> coefficients_row_;  // (candidates) row of a position, or none
  SourceRows sources_;
  double largest_coefficient_ = 0;
};

/// What users bring to their scores.
struct RankedUsers {
  std::span<const float> rows;                    // (users, dim) float32
  const NumberLists* histories = nullptr;         // of people, numbered over all domains
  std::span<const std::int32_t> history_of = {};  // (users) list among the histories
  std::span<const float> history_weights = {};    // (histories->values), or none: each is 1

  WeightedHistory history(std::int64_t user) const {
    if (histories == nullptr) return {};
    const std::int32_t list = history_of[user];
    WeightedHistory history = {histories->of(list)};
    if (!history_weights.empty()) {
      history.weights = history_weights.subspan(histories->offsets[list], history.items.size());
    }
    return history;
  }
};

/// The paper's score: the product of embeddings alone.
inline constexpr ScoreMix kProductAlone[] = {{}};

/// Largest Euclidean norm of a row, infinite where a value is not finite.
///
/// Shapes   rows: (n, dim) float32.
double largest_row_norm(std::span<const float> rows, std::int64_t dim);

/// Largest absolute value; infinite where one is not a number.
double largest_absolute(std::span<const float> values);

/// Refuses scores that would have no order: of rows with these largest norms, as |<u, i>| <=
/// |u| |i|, beside linear terms that are at most as large. Errors: Error(Cause::diverged).
void refuse_infinite_scores(double largest_user_norm, double largest_item_norm,
                            double largest_linear_term = 0);

/// A bound of the linear terms of scores: of histories of this length, coefficients of this size.
double largest_linear_term(std::span<const ScoreMix> mixes, double longest_history,
                           double largest_coefficient);

/// Scores the pairs whose item is among the candidates, once a mix, and leaves the others as they
/// are.
///
/// Shapes   users: pairs.size(); scores: (mixes, pairs.values.size()).
void score_pairs(const Candidates& candidates, const RankedUsers& users, const NumberLists& pairs,
                 std::span<const ScoreMix> mixes, std::span<float> scores);

/// Adds, for every mix, positive and group, how many unmasked candidates of the group come before
/// the positive in its user's ranking: those with a higher score, or with the same score and a
/// smaller item number. With all candidates in one call or in several (each a part of the items)
/// the sum over groups is the exact rank, from 0.
///
/// Shapes   users: positives.size(); positive_scores: (mixes, positives) from score_pairs;
///          masked: lists of the same users, without the positives;
///          ahead: (mixes, positives, groups), added to.
/// `stop`   asked between blocks of users, on any thread: from when it is true no more are counted.
/// Errors   Error(Cause::diverged) where a score could be infinite or not a number.
/// Cost     2 * users * candidates * dim operations near the processor's peak and, once however
///          many mixes there are, an addition for each coefficient that a history meets; no matrix
///          of scores is stored, each thread holds a tile of them in its cache.
void count_ahead(const Candidates& candidates, const RankedUsers& users,
                 const NumberLists& positives, std::span<const ScoreMix> mixes,
                 std::span<const float> positive_scores, const NumberLists& masked,
                 std::span<std::int32_t> ahead, const std::function<bool()>& stop = {});

/// The k best unmasked candidates of every user, best first, ties to the smaller item number.
///
/// Shapes   users: masked.size(); allowed: (items) by item number, 0 for what nobody gets, or none:
///          all; returns one list a user, shorter than k where fewer candidates are left.
/// Errors   As count_ahead.
std::vector<std::vector<ScoredItem>> top_k(const Candidates& candidates, const RankedUsers& users,
                                           const NumberLists& masked, const ScoreMix& mix,
                                           std::int64_t k,
                                           std::span<const std::uint8_t> allowed = {});

}  // namespace micrec
