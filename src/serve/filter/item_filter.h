#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/ranking.h"

namespace micrec {

/// Which items of a domain may stand in lists, and how many of a kind in one list.
class ItemFilter {
 public:
  /// All items may.
  explicit ItemFilter(std::int64_t items) : allowed_(items, 1) {}

  /// Lets those through alone that it names. Shapes   items: rising or not, repeats allowed.
  void keep_only(std::span<const std::int32_t> items);
  void leave_out(std::span<const std::int32_t> items);
  /// Shapes   holds: (items), 0 for what is to be left out.
  void keep_where(std::span<const std::uint8_t> holds);
  /// Shapes   degree: (items) training interactions.
  void keep_degree(std::span<const std::int32_t> degree, std::int64_t least);

  /// Lists have at most so many items of a group, and any number of those in no group.
  /// Shapes   group: (items), -1: in none.
  void set_at_most(std::int64_t most, std::vector<std::int32_t> group);

  /// Shapes   (items), 1 where it may be listed.
  std::span<const std::uint8_t> allowed() const { return allowed_; }
  std::int64_t count() const;
  bool has_groups() const { return !group_.empty(); }

  /// The first k items of a ranking that may stand in one list: each is taken unless there are
  /// already as many of its group.
  std::vector<ScoredItem> chosen(std::span<const ScoredItem> ranking, std::int64_t k) const;

 private:
  std::vector<std::uint8_t> allowed_;  // (items)
  std::int64_t most_ = 0;
  std::vector<std::int32_t> group_;  // (items), or none
};

/// top_k() of the items that a filter lets through; null: of all. With groups a list is what
/// chosen() takes from the whole ranking: more is asked for until it is full.
///
/// Errors   those of top_k().
/// Cost     top_k(), and with groups again for those whose lists are not full, for four times as
///          many items each time.
std::vector<std::vector<ScoredItem>> filtered_top_k(const Candidates& candidates,
                                                    const RankedUsers& users,
                                                    const NumberLists& masked, const ScoreMix& mix,
                                                    std::int64_t k, const ItemFilter* filter);

}  // namespace micrec
