#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/scores.h"

namespace micrec {

/// Items of every user: user r has items[offsets[r]] .. items[offsets[r + 1] - 1], rising.
struct ItemLists {
  std::vector<std::int64_t> offsets = {0};  // (users + 1)
  std::vector<std::int32_t> items;

  std::int64_t users() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const std::int32_t> of(std::int64_t user) const {
    return std::span(items).subspan(offsets[user], offsets[user + 1] - offsets[user]);
  }
};

/// The items that users choose among, packed for the kernels and divided into groups that can be
/// counted apart.
class Candidates {
 public:
  /// An item of this group is no candidate.
  static constexpr std::uint8_t kExcluded = 255;

  /// The items first_item, first_item + 1, ...; item first_item + i has row row_of[i].
  ///
  /// Shapes   rows: (items, dim) float32; row_of: (items);
  ///          group: (items) below `groups`, or kExcluded.
  /// Cost     A copy of the rows.
  Candidates(std::span<const float> rows, std::int64_t dim, std::int64_t first_item,
             std::span<const std::int32_t> row_of, std::span<const std::uint8_t> group, int groups,
             int threads);

  std::int64_t dim() const { return panels_.dim(); }
  std::int64_t size() const { return static_cast<std::int64_t>(number_.size()); }
  int groups() const { return static_cast<int>(group_begin_.size()) - 1; }

  /// Positions are by group, and by item number within a group; numbers() has those of all.
  std::int64_t group_begin(int group) const { return group_begin_[group]; }
  std::span<const std::int32_t> numbers() const { return number_; }
  /// Position of an item, or -1 where it is not among these candidates.
  std::int64_t position_of(std::int32_t item) const {
    const std::int64_t i = item - first_item_;
    return i >= 0 && i < static_cast<std::int64_t>(position_.size()) ? position_[i] : -1;
  }

  /// In panels of kItemLanes positions.
  const RowPanels& rows() const { return panels_; }
  double largest_norm() const { return largest_norm_; }

 private:
  std::int64_t first_item_;
  std::vector<std::int64_t> group_begin_;  // (groups + 1) positions
  std::vector<std::int32_t> number_;       // (candidates) item number by position
  std::vector<std::int32_t> position_;     // (items) position, or -1
  RowPanels panels_;                       // (candidates, dim)
  double largest_norm_ = 0;
};

/// Largest Euclidean norm of a row, infinite where a value is not finite.
///
/// Shapes   rows: (n, dim) float32.
double largest_row_norm(std::span<const float> rows, std::int64_t dim, int threads);

/// Whether every score of rows with these largest norms is finite, as |<u, i>| <= |u| |i|.
bool scores_are_finite(double largest_user_norm, double largest_item_norm);

/// Scores the pairs whose item is among the candidates and leaves the others as they are.
///
/// Shapes   users: (pairs.users(), dim) float32; scores: (pairs.items.size()).
void score_pairs(const Candidates& candidates, std::span<const float> users, const ItemLists& pairs,
                 int threads, std::span<float> scores);

/// Adds, for every positive and group, how many unmasked candidates of the group come before the
/// positive in its user's ranking: those with a higher score, or with the same score and a smaller
/// item number. With all candidates in one call or in several (each a part of the items) the sum
/// over groups is the exact rank, from 0.
///
/// Shapes   users: (positives.users(), dim) float32; positive_scores: (positives) from score_pairs;
///          masked: lists of the same users, without the positives;
///          ahead: (positives, groups), added to.
/// Errors   Error(Cause::diverged) where a score could be infinite or not a number.
/// Cost     2 * users * candidates * dim operations near the processor's peak; no matrix of scores
///          is stored, each thread holds a tile of them in its cache.
void count_ahead(const Candidates& candidates, std::span<const float> users,
                 const ItemLists& positives, std::span<const float> positive_scores,
                 const ItemLists& masked, int threads, std::span<std::int32_t> ahead);

/// The k best unmasked candidates of every user, best first, ties to the smaller item number.
///
/// Shapes   users: (masked.users(), dim) float32; returns one list a user, shorter than k where
///          fewer candidates are left.
/// Errors   As count_ahead.
std::vector<std::vector<ScoredItem>> top_k(const Candidates& candidates,
                                           std::span<const float> users, const ItemLists& masked,
                                           std::int64_t k, int threads);

}  // namespace micrec
