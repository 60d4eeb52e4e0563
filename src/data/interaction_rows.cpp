#include "data/interaction_rows.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

template <typename T>
void keep_only(const std::vector<std::uint8_t>& keep, std::vector<T>& values) {
  if (values.empty()) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < keep.size(); ++i) {
    if (keep[i] != 0) values[kept++] = values[i];
  }
  values.resize(kept);
}

/// Where every user's interactions begin among those that are sorted by users, and the end of all.
std::vector<std::int64_t> begins_of(const std::vector<std::int32_t>& user) {
  const std::int32_t users = user.empty() ? 0 : 1 + *std::max_element(user.begin(), user.end());
  std::vector<std::int64_t> begin(static_cast<std::size_t>(users) + 1, 0);
  for (const std::int32_t one : user) ++begin[one + 1];
  for (std::int32_t one = 0; one < users; ++one) begin[one + 1] += begin[one];
  return begin;
}

/// A column in the order of users, for each of them as it was; frees the one that was.
template <typename T>
std::vector<T> by_user(const std::vector<std::int32_t>& user, std::vector<std::int64_t> next,
                       std::vector<T>& column) {
  std::vector<T> sorted(column.size());
  for (std::size_t i = 0; i < column.size(); ++i) sorted[next[user[i]]++] = column[i];
  std::vector<T>().swap(column);
  return sorted;
}

/// Sorts a user's interactions.
class HistorySorter {
 public:
  explicit HistorySorter(InteractionRows& rows) : rows_(rows) {}

  void sort(std::int64_t begin, std::int64_t end) {
    order_.clear();
    for (std::int64_t i = begin; i < end; ++i) {
      order_.push_back(static_cast<std::uint64_t>(rows_.item[i]) << 32 |
                       static_cast<std::uint64_t>(i - begin));
    }
    std::sort(order_.begin(), order_.end());
    sort_repeated(begin);
    permute(begin, rows_.item, items_);
    permute(begin, rows_.timestamp, timestamps_);
    permute(begin, rows_.billionths, billionths_);
    permute(begin, rows_.split, splits_);
  }

 private:
  static std::int64_t place(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }
  static std::int32_t item(std::uint64_t entry) { return static_cast<std::int32_t>(entry >> 32); }

  /// Those of one item by their split and time.
  void sort_repeated(std::int64_t begin) {
    const auto rank = [&](std::uint64_t entry) {
      const std::int64_t i = begin + place(entry);
      return std::tuple(rows_.split.empty() ? Split::train : rows_.split[i],
                        rows_.timestamp.empty() ? 0 : rows_.timestamp[i],
                        rows_.billionths.empty() ? 0 : rows_.billionths[i]);
    };
    for (std::size_t first = 0, last = 0; first < order_.size(); first = last) {
      last = first + 1;
      while (last < order_.size() && item(order_[last]) == item(order_[first])) ++last;
      if (last == first + 1) continue;
      std::sort(order_.begin() + static_cast<std::ptrdiff_t>(first),
                order_.begin() + static_cast<std::ptrdiff_t>(last),
                [&](std::uint64_t a, std::uint64_t b) { return rank(a) < rank(b); });
    }
  }

  template <typename T>
  void permute(std::int64_t begin, std::vector<T>& column, std::vector<T>& sorted) const {
    if (column.empty()) return;
    sorted.clear();
    for (const std::uint64_t entry : order_) sorted.push_back(column[begin + place(entry)]);
    std::copy(sorted.begin(), sorted.end(), column.begin() + begin);
  }

  InteractionRows& rows_;
  std::vector<std::uint64_t> order_;  // item and place
  std::vector<std::int32_t> items_;
  std::vector<std::int64_t> timestamps_;
  std::vector<std::int32_t> billionths_;
  std::vector<Split> splits_;
};

}  // namespace

void InteractionRows::keep_only(const std::vector<std::uint8_t>& keep) {
  micrec::keep_only(keep, user);
  micrec::keep_only(keep, item);
  micrec::keep_only(keep, timestamp);
  micrec::keep_only(keep, billionths);
  micrec::keep_only(keep, split);
}

InteractionRows take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                          const std::vector<std::int32_t>& item_number, int threads) {
  for (std::int32_t& user : raw.user) user = user_number[user];
  for (std::int32_t& item : raw.item) item = item_number[item];
  const std::vector<std::int64_t> begin = begins_of(raw.user);
  InteractionRows rows;
  rows.item = by_user(raw.user, begin, raw.item);
  rows.timestamp = by_user(raw.user, begin, raw.timestamp);
  rows.billionths = by_user(raw.user, begin, raw.billionths);
  rows.split = by_user(raw.user, begin, raw.given_split);
  rows.user = std::move(raw.user);
  const auto users = static_cast<std::int64_t>(begin.size()) - 1;
  parallel_for(users, 1 << 12, threads, [&](std::int64_t first, std::int64_t last) {
    HistorySorter sorter(rows);
    for (std::int64_t user = first; user < last; ++user) {
      std::fill(rows.user.begin() + begin[user], rows.user.begin() + begin[user + 1],
                static_cast<std::int32_t>(user));
      sorter.sort(begin[user], begin[user + 1]);
    }
  });
  return rows;
}

void drop_repeated(InteractionRows& rows, const std::string& domain, SplitKind split,
                   std::ostream& report) {
  std::int64_t across_splits = 0;
  std::int64_t dropped = 0;
  std::vector<std::uint8_t> keep(rows.size(), 1);
  for (std::size_t i = 1, last = 0; i < rows.size(); ++i) {
    if (rows.user[i] != rows.user[last] || rows.item[i] != rows.item[last]) {
      last = i;
      continue;
    }
    keep[i] = 0;
    ++dropped;
    if (!rows.split.empty() && rows.split[i] != rows.split[last]) ++across_splits;
  }
  if (dropped == 0) return;
  rows.keep_only(keep);
  report << domain << ": " << with_commas(dropped) << (dropped == 1 ? " repeat" : " repeats")
         << " of a user's item dropped";
  if (across_splits > 0) {
    report << ", " << with_commas(across_splits) << " of them in two of the "
           << (split == SplitKind::column ? "split's parts" : "files")
           << " (kept where it comes first: training, validation, test)";
  } else {
    report << (is_given(split) ? "" : ", the earliest kept");
  }
  report << "\n";
}

}  // namespace micrec
