#include "data/interaction_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
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

/// Interactions of users that follow one another, about as many as a core's cache holds while they
/// are sorted.
constexpr std::int64_t kBucketRows = 1 << 14;
/// No more of them than a core writes to at a time without waiting for the places of its pages.
constexpr int kMostBucketBits = 11;

/// Users in ranges of 2^shift, and where the interactions of each range begin and end.
struct Buckets {
  int shift = 0;
  std::vector<std::int64_t> begin = {0};  // (buckets + 1)

  std::int64_t count() const { return static_cast<std::int64_t>(begin.size()) - 1; }
};

Buckets buckets_of(const std::vector<std::int32_t>& user) {
  if (user.empty()) return {};
  const auto last = static_cast<std::uint32_t>(*std::max_element(user.begin(), user.end()));
  const auto wanted = static_cast<std::uint64_t>(user.size()) / kBucketRows;
  const int bits = std::min<int>(kMostBucketBits, std::bit_width(wanted));
  Buckets buckets;
  buckets.shift = std::max<int>(0, std::bit_width(last) - bits);
  buckets.begin.assign((last >> buckets.shift) + 2, 0);
  for (const std::int32_t one : user) ++buckets.begin[(one >> buckets.shift) + 1];
  std::partial_sum(buckets.begin.begin(), buckets.begin.end(), buckets.begin.begin());
  return buckets;
}

struct Row {
  std::int32_t user = 0;
  std::int32_t item = 0;
  std::int64_t timestamp = 0;
  std::int32_t billionths = 0;
  Split split = Split::train;
};

/// Exchanges an interaction for that of a place.
void exchange(InteractionRows& rows, std::int64_t i, Row& row) {
  std::swap(rows.user[i], row.user);
  std::swap(rows.item[i], row.item);
  if (!rows.timestamp.empty()) std::swap(rows.timestamp[i], row.timestamp);
  if (!rows.billionths.empty()) std::swap(rows.billionths[i], row.billionths);
  if (!rows.split.empty()) std::swap(rows.split[i], row.split);
}

/// Puts every interaction into its bucket, in no order, without room for a second column: what is
/// in the way is taken along to its own.
void put_into_buckets(const Buckets& buckets, InteractionRows& rows) {
  std::vector<std::int64_t> next = buckets.begin;
  for (std::int64_t b = 0; b < buckets.count(); ++b) {
    while (next[b] < buckets.begin[b + 1]) {
      Row row;
      exchange(rows, next[b], row);
      for (;;) {
        const std::int64_t own = row.user >> buckets.shift;
        exchange(rows, next[own]++, row);
        if (own == b) break;
      }
    }
  }
}

/// Sorts the interactions of a bucket.
class BucketSorter {
 public:
  explicit BucketSorter(InteractionRows& rows) : rows_(rows) {}

  void sort(std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    const auto users = range_of(rows_.user, begin, end);
    const auto items = range_of(rows_.item, begin, end);
    const int item_bits = std::bit_width(static_cast<std::uint32_t>(items.second - items.first));
    const int user_bits = std::bit_width(static_cast<std::uint32_t>(users.second - users.first));
    order_.clear();
    for (std::int64_t i = begin; i < end; ++i) {
      const auto user = static_cast<std::uint64_t>(rows_.user[i] - users.first);
      const auto item = static_cast<std::uint64_t>(rows_.item[i] - items.first);
      order_.push_back({user << item_bits | item, i});
    }
    sort_by_pair(user_bits + item_bits);
    sort_repeated();
    permute(begin, rows_.user, integers_);
    permute(begin, rows_.item, integers_);
    permute(begin, rows_.timestamp, timestamps_);
    permute(begin, rows_.billionths, integers_);
    permute(begin, rows_.split, splits_);
  }

 private:
  struct Entry {
    std::uint64_t pair;
    std::int64_t row;
  };

  static std::pair<std::int32_t, std::int32_t> range_of(const std::vector<std::int32_t>& column,
                                                        std::int64_t begin, std::int64_t end) {
    const auto [least, most] = std::minmax_element(column.begin() + begin, column.begin() + end);
    return {*least, *most};
  }

  /// By counting, 11 bits at a time from the last; those of one pair stay as they are.
  void sort_by_pair(int bits) {
    constexpr int kDigitBits = 11;
    constexpr std::uint64_t kDigits = 1 << kDigitBits;
    other_.resize(order_.size());
    std::array<std::uint32_t, kDigits> next;
    for (int shift = 0; shift < bits; shift += kDigitBits) {
      next.fill(0);
      for (const Entry& entry : order_) ++next[entry.pair >> shift & (kDigits - 1)];
      std::exclusive_scan(next.begin(), next.end(), next.begin(), 0U);
      for (const Entry& entry : order_) other_[next[entry.pair >> shift & (kDigits - 1)]++] = entry;
      std::swap(order_, other_);
    }
  }

  /// Those of one pair by their split and time.
  void sort_repeated() {
    const auto rank = [&](const Entry& entry) {
      const std::int64_t i = entry.row;
      return std::tuple(rows_.split.empty() ? Split::train : rows_.split[i],
                        rows_.timestamp.empty() ? 0 : rows_.timestamp[i],
                        rows_.billionths.empty() ? 0 : rows_.billionths[i]);
    };
    for (auto first = order_.begin(); first != order_.end();) {
      auto last = first + 1;
      while (last != order_.end() && last->pair == first->pair) ++last;
      if (last - first > 1) {
        std::sort(first, last, [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
      }
      first = last;
    }
  }

  template <typename T>
  void permute(std::int64_t begin, std::vector<T>& column, std::vector<T>& sorted) const {
    if (column.empty()) return;
    sorted.clear();
    for (const Entry& entry : order_) sorted.push_back(column[entry.row]);
    std::copy(sorted.begin(), sorted.end(), column.begin() + begin);
  }

  InteractionRows& rows_;
  std::vector<Entry> order_;
  std::vector<Entry> other_;
  std::vector<std::int32_t> integers_;
  std::vector<std::int64_t> timestamps_;
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

void InteractionRows::resize(std::size_t count) {
  user.resize(count);
  item.resize(count);
  if (!timestamp.empty()) timestamp.resize(count);
  if (!billionths.empty()) billionths.resize(count);
  if (!split.empty()) split.resize(count);
}

InteractionRows take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                          const std::vector<std::int32_t>& item_number) {
  for (std::int32_t& user : raw.user) user = user_number[user];
  for (std::int32_t& item : raw.item) item = item_number[item];
  const Buckets buckets = buckets_of(raw.user);
  InteractionRows rows{std::move(raw.user), std::move(raw.item), std::move(raw.timestamp),
                       std::move(raw.billionths), std::move(raw.given_split)};
  put_into_buckets(buckets, rows);
  parallel_for(buckets.count(), 1, [&](std::int64_t first, std::int64_t last) {
    BucketSorter sorter(rows);
    for (std::int64_t b = first; b < last; ++b) sorter.sort(buckets.begin[b], buckets.begin[b + 1]);
  });
  return rows;
}

void drop_repeated(InteractionRows& rows, const std::string& domain, SplitKind split,
                   std::ostream& report) {
  std::int64_t across_splits = 0;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (kept > 0 && rows.user[i] == rows.user[kept - 1] && rows.item[i] == rows.item[kept - 1]) {
      if (!rows.split.empty() && rows.split[i] != rows.split[kept - 1]) ++across_splits;
      continue;
    }
    if (i != kept) {
      Row row;
      exchange(rows, i, row);
      exchange(rows, kept, row);
    }
    ++kept;
  }
  const auto dropped = static_cast<std::int64_t>(rows.size() - kept);
  if (dropped == 0) return;
  rows.resize(kept);
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
