#include "serve/filter/item_filter.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <utility>

namespace micrec {
namespace {

/// Some of the users, as top_k() takes them.
struct SomeUsers {
  std::vector<float> rows;
  std::vector<std::int32_t> history_of;
  NumberLists masked;
};

SomeUsers take(const RankedUsers& users, const NumberLists& masked,
               std::span<const std::int64_t> numbers, std::int64_t dim) {
  SomeUsers some;
  for (const std::int64_t user : numbers) {
    const std::span<const float> row = users.rows.subspan(user * dim, dim);
    some.rows.insert(some.rows.end(), row.begin(), row.end());
    if (!users.history_of.empty()) some.history_of.push_back(users.history_of[user]);
    some.masked.add(masked.of(user));
  }
  return some;
}

}  // namespace

void ItemFilter::keep_only(std::span<const std::int32_t> items) {
  std::vector<std::uint8_t> named(allowed_.size(), 0);
  for (const std::int32_t item : items) named[item] = 1;
  keep_where(named);
}

void ItemFilter::leave_out(std::span<const std::int32_t> items) {
  for (const std::int32_t item : items) allowed_[item] = 0;
}

void ItemFilter::keep_where(std::span<const std::uint8_t> holds) {
  CHECK_EQ(holds.size(), allowed_.size());
  for (std::size_t i = 0; i < allowed_.size(); ++i) {
    if (holds[i] == 0) allowed_[i] = 0;
  }
}

void ItemFilter::keep_degree(std::span<const std::int32_t> degree, std::int64_t least) {
  CHECK_EQ(degree.size(), allowed_.size());
  for (std::size_t i = 0; i < allowed_.size(); ++i) {
    if (degree[i] < least) allowed_[i] = 0;
  }
}

void ItemFilter::set_at_most(std::int64_t most, std::vector<std::int32_t> group) {
  CHECK_GE(most, 1);
  CHECK_EQ(group.size(), allowed_.size());
  most_ = most;
  group_ = std::move(group);
}

std::int64_t ItemFilter::count() const { return std::ranges::count(allowed_, 1); }

std::vector<ScoredItem> ItemFilter::chosen(std::span<const ScoredItem> ranking,
                                           std::int64_t k) const {
  std::vector<ScoredItem> list;
  std::map<std::int32_t, std::int64_t> taken;  // of a group
  for (const ScoredItem& item : ranking) {
    if (static_cast<std::int64_t>(list.size()) == k) break;
    if (allowed_[item.item] == 0) continue;
    const std::int32_t group = group_.empty() ? -1 : group_[item.item];
    if (group >= 0 && ++taken[group] > most_) continue;
    list.push_back(item);
  }
  return list;
}

std::vector<std::vector<ScoredItem>> filtered_top_k(const Candidates& candidates,
                                                    const RankedUsers& users,
                                                    const NumberLists& masked, const ScoreMix& mix,
                                                    std::int64_t k, const ItemFilter* filter) {
  if (filter == nullptr) return top_k(candidates, users, masked, mix, k);
  const std::span<const std::uint8_t> allowed = filter->allowed();
  std::vector<std::vector<ScoredItem>> lists = top_k(candidates, users, masked, mix, k, allowed);
  if (!filter->has_groups()) return lists;
  std::int64_t asked = k;
  std::vector<std::int64_t> open;  // whose lists may have gaps
  const auto choose = [&](std::int64_t user, const std::vector<ScoredItem>& ranking) {
    lists[user] = filter->chosen(ranking, k);
    const bool is_whole = static_cast<std::int64_t>(ranking.size()) < asked;
    if (!is_whole && static_cast<std::int64_t>(lists[user].size()) < k) open.push_back(user);
  };
  for (std::int64_t user = 0; user < masked.size(); ++user) {
    choose(user, std::vector<ScoredItem>(lists[user]));
  }
  while (!open.empty()) {
    asked *= 4;
    const std::vector<std::int64_t> numbers = std::exchange(open, {});
    const SomeUsers some = take(users, masked, numbers, candidates.dim());
    const std::vector<std::vector<ScoredItem>> rankings =
        top_k(candidates, {some.rows, users.histories, some.history_of, users.history_weights},
              some.masked, mix, asked, allowed);
    for (std::size_t n = 0; n < numbers.size(); ++n) choose(numbers[n], rankings[n]);
  }
  return lists;
}

}  // namespace micrec
