#include "data/interaction_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>

#include "base/pages.h"
#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

/// Interactions of users that follow one another, about as many as a core's cache holds while they
/// are sorted.
constexpr std::int64_t kBucketRows = 1 << 14;
/// No more of them than a core writes to at a time without waiting for the places of its pages.
constexpr int kMostBucketBits = 11;
constexpr int kSplitBits = 2;
constexpr int kBillionthBits = 30;

int bits_of(std::uint64_t most) { return std::bit_width(most); }

struct Row {
  std::int32_t user = 0;
  std::int32_t item = 0;
  Split split = Split::train;
  std::int64_t timestamp = 0;
  std::int32_t billionths = 0;
};

/// What the interactions have in common: users in ranges of 2^user_bits, where those of each range
/// begin and end, and how many bits a number of them has.
struct Layout {
  int user_bits = 0;  // within a range
  int item_bits = 0;
  int split_bits = 0;
  int time_bits = 0;
  int billionth_bits = 0;
  bool has_times = false;
  std::int64_t first_time = 0;
  std::vector<std::int64_t> begin = {0};  // (ranges + 1)

  std::int64_t ranges() const { return std::ssize(begin) - 1; }
  int pair_bits() const { return user_bits + item_bits; }
  int bits_behind_pair() const { return split_bits + time_bits + billionth_bits; }
};

Layout layout_of(const RawDomain& raw, const std::vector<std::int32_t>& user_number,
                 const std::vector<std::int32_t>& item_number) {
  Layout layout;
  if (raw.user.empty()) return layout;
  const auto most = [](const std::vector<std::int32_t>& numbers) {
    return static_cast<std::uint32_t>(*std::ranges::max_element(numbers));
  };
  const std::uint32_t last = most(user_number);
  const auto wanted = static_cast<std::uint64_t>(raw.user.size()) / kBucketRows;
  layout.user_bits = std::max(0, bits_of(last) - std::min(kMostBucketBits, bits_of(wanted)));
  layout.item_bits = bits_of(most(item_number));
  layout.split_bits = raw.given_split.empty() ? 0 : kSplitBits;
  layout.billionth_bits = raw.billionths.empty() ? 0 : kBillionthBits;
  layout.begin.assign((last >> layout.user_bits) + 2, 0);
  PackedColumn<std::int32_t>::Block users;
  PackedColumn<std::int64_t>::Block times;
  auto [least_time, most_time] =
      std::pair(std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min());
  for (std::size_t at = 0; at < raw.user.size(); at += users.size()) {
    for (const std::int32_t user : raw.user.block(at, users)) {
      ++layout.begin[(user_number[user] >> layout.user_bits) + 1];
    }
    if (raw.timestamp.empty()) continue;
    for (const std::int64_t time : raw.timestamp.block(at, times)) {
      least_time = std::min(least_time, time);
      most_time = std::max(most_time, time);
    }
  }
  std::partial_sum(layout.begin.begin(), layout.begin.end(), layout.begin.begin());
  if (raw.timestamp.empty()) return layout;
  layout.has_times = true;
  layout.first_time = least_time;
  layout.time_bits =
      bits_of(static_cast<std::uint64_t>(most_time) - static_cast<std::uint64_t>(least_time));
  return layout;
}

/// An interaction as one number: user in its range, item, split, time, billionths.
struct NarrowRow {
  std::uint64_t bits;

  NarrowRow() = default;
  NarrowRow(const Layout& layout, const Row& row) {
    const auto user =
        static_cast<std::uint64_t>(row.user) & ((std::uint64_t{1} << layout.user_bits) - 1);
    const std::uint64_t time =
        static_cast<std::uint64_t>(row.timestamp) - static_cast<std::uint64_t>(layout.first_time);
    bits = user << layout.item_bits | static_cast<std::uint64_t>(row.item);
    bits = bits << layout.split_bits | static_cast<std::uint64_t>(row.split);
    bits = bits << layout.time_bits | time;
    bits = bits << layout.billionth_bits | static_cast<std::uint64_t>(row.billionths);
  }
  bool operator<(const NarrowRow& other) const { return bits < other.bits; }
  std::uint64_t pair(const Layout& layout) const { return bits >> layout.bits_behind_pair(); }
  Row row(const Layout& layout, std::int64_t range) const {
    std::uint64_t left = bits;
    const auto take = [&left](int width) {
      const std::uint64_t taken = left & ((std::uint64_t{1} << width) - 1);
      left >>= width;
      return taken;
    };
    Row row;
    row.billionths = static_cast<std::int32_t>(take(layout.billionth_bits));
    row.timestamp = static_cast<std::int64_t>(take(layout.time_bits) +
                                              static_cast<std::uint64_t>(layout.first_time));
    row.split = static_cast<Split>(take(layout.split_bits));
    row.item = static_cast<std::int32_t>(take(layout.item_bits));
    row.user =
        static_cast<std::int32_t>(range << layout.user_bits | static_cast<std::int64_t>(left));
    return row;
  }
};

/// The same where it has more bits than such a number.
struct __attribute__((packed)) WideRow {
  std::uint64_t pair_and_split;
  std::int64_t timestamp;
  std::int32_t billionths;

  WideRow() = default;
  WideRow(const Layout& layout, const Row& row)
      : timestamp(row.timestamp), billionths(row.billionths) {
    const auto user =
        static_cast<std::uint64_t>(row.user) & ((std::uint64_t{1} << layout.user_bits) - 1);
    pair_and_split = (user << layout.item_bits | static_cast<std::uint64_t>(row.item))
                         << kSplitBits |
                     static_cast<std::uint64_t>(row.split);
  }
  bool operator<(const WideRow& other) const {
    if (pair_and_split != other.pair_and_split) return pair_and_split < other.pair_and_split;
    if (timestamp != other.timestamp) return timestamp < other.timestamp;
    return billionths < other.billionths;
  }
  std::uint64_t pair(const Layout&) const { return pair_and_split >> kSplitBits; }
  Row row(const Layout& layout, std::int64_t range) const {
    const std::uint64_t of_pair = pair_and_split >> kSplitBits;
    Row row;
    row.user = static_cast<std::int32_t>(range << layout.user_bits |
                                         static_cast<std::int64_t>(of_pair >> layout.item_bits));
    row.item = static_cast<std::int32_t>(of_pair & ((std::uint64_t{1} << layout.item_bits) - 1));
    row.split = static_cast<Split>(pair_and_split & ((1U << kSplitBits) - 1));
    row.timestamp = timestamp;
    row.billionths = billionths;
    return row;
  }
};

/// Puts every interaction into the range of its user, and gives back what `raw` has of it.
template <typename Packed>
void put_into_ranges(const Layout& layout, const std::vector<std::int32_t>& user_number,
                     const std::vector<std::int32_t>& item_number, RawDomain& raw, Packed* rows) {
  std::vector<std::int64_t> next = layout.begin;
  PackedColumn<std::int32_t>::Block users, items, rests;
  PackedColumn<std::int64_t>::Block times;
  PackedColumn<Split>::Block splits;
  for (std::size_t at = 0; at < raw.user.size(); at += users.size()) {
    const auto block = [at](auto& column, auto& room) {
      column.give_back_before(at);
      return column.empty() ? decltype(column.block(at, room))() : column.block(at, room);
    };
    const auto user = block(raw.user, users);
    const auto item = block(raw.item, items);
    const auto time = block(raw.timestamp, times);
    const auto rest = block(raw.billionths, rests);
    const auto split = block(raw.given_split, splits);
    for (std::size_t i = 0; i < user.size(); ++i) {
      const Row row{user_number[user[i]], item_number[item[i]],
                    split.empty() ? Split::train : split[i],
                    time.empty() ? layout.first_time : time[i], rest.empty() ? 0 : rest[i]};
      rows[next[row.user >> layout.user_bits]++] = Packed(layout, row);
    }
  }
}

/// By the pair, by counting at most 11 bits at a time from the last; those of one pair stay as they
/// are.
template <typename Packed>
void sort_by_pair(const Layout& layout, std::span<Packed> rows, std::vector<Packed>& room) {
  constexpr int kMostDigitBits = 11;
  const int passes = (layout.pair_bits() + kMostDigitBits - 1) / kMostDigitBits;
  const int digit_bits = passes == 0 ? 0 : (layout.pair_bits() + passes - 1) / passes;
  const std::uint64_t digits = std::uint64_t{1} << digit_bits;
  room.resize(std::max(room.size(), rows.size()));
  std::span<Packed> from = rows;
  std::span<Packed> to = std::span(room).first(rows.size());
  std::array<std::uint32_t, 1 << kMostDigitBits> next;
  for (int shift = 0; shift < layout.pair_bits(); shift += digit_bits) {
    const auto digit = [&](const Packed& row) { return row.pair(layout) >> shift & (digits - 1); };
    std::fill_n(next.begin(), digits, 0U);
    for (const Packed& row : from) ++next[digit(row)];
    std::exclusive_scan(next.begin(), next.begin() + digits, next.begin(), 0U);
    for (const Packed& row : from) to[next[digit(row)]++] = row;
    std::swap(from, to);
  }
  if (from.data() != rows.data()) std::copy(from.begin(), from.end(), rows.begin());
}

struct Dropped {
  std::int64_t repeats = 0;
  std::int64_t across_splits = 0;  // of them
};

/// Writes the first of every pair of a sorted range behind the others.
template <typename Packed>
void take_first(const Layout& layout, std::int64_t range, std::span<const Packed> rows,
                InteractionRows& out, Dropped& dropped) {
  for (std::size_t begin = 0; begin < rows.size();) {
    Packed first = rows[begin];
    std::size_t end = begin + 1;
    for (; end < rows.size() && rows[end].pair(layout) == first.pair(layout); ++end) {
      first = std::min(first, rows[end]);
    }
    const Row row = first.row(layout, range);
    for (std::size_t i = begin; end - begin > 1 && i < end; ++i) {
      dropped.across_splits += rows[i].row(layout, range).split != row.split ? 1 : 0;
    }
    dropped.repeats += static_cast<std::int64_t>(end - begin - 1);
    begin = end;
    out.user.push_back(row.user);
    out.item.push_back(row.item);
    if (layout.has_times) out.timestamp.push_back(row.timestamp);
    if (layout.billionth_bits > 0) out.billionths.push_back(row.billionths);
    if (layout.split_bits > 0) out.split.push_back(row.split);
  }
}

template <typename Packed>
Dropped sort_rows(const Layout& layout, const std::vector<std::int32_t>& user_number,
                  const std::vector<std::int32_t>& item_number, RawDomain& raw,
                  InteractionRows& out) {
  const Pages pages(static_cast<std::size_t>(layout.begin.back()) * sizeof(Packed));
  auto* const rows = static_cast<Packed*>(pages.data());
  put_into_ranges(layout, user_number, item_number, raw, rows);
  raw.user = {};
  raw.item = {};
  raw.timestamp = {};
  raw.billionths = {};
  raw.given_split = {};
  const auto of_range = [&](std::int64_t range) {
    return std::span(rows + layout.begin[range], rows + layout.begin[range + 1]);
  };
  Dropped dropped;
  const std::int64_t together = compute_threads() == 1 ? 1 : 8 * compute_threads();
  std::vector<std::vector<Packed>> room(compute_threads());
  for (std::int64_t first = 0; first < layout.ranges(); first += together) {
    const std::int64_t last = std::min(layout.ranges(), first + together);
    parallel_for_workers(last - first, 1,
                         [&](std::int64_t worker, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t range = first + begin; range < first + end; ++range) {
                             sort_by_pair(layout, of_range(range), room[worker]);
                           }
                         });
    for (std::int64_t range = first; range < last; ++range) {
      take_first<Packed>(layout, range, of_range(range), out, dropped);
    }
    pages.give_back(static_cast<std::size_t>(layout.begin[last]) * sizeof(Packed));
  }
  return dropped;
}

}  // namespace

InteractionRows take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                          const std::vector<std::int32_t>& item_number, SplitKind split,
                          std::ostream& report) {
  const Layout layout = layout_of(raw, user_number, item_number);
  InteractionRows rows;
  const bool is_narrow = layout.pair_bits() + layout.bits_behind_pair() < 64;
  const Dropped dropped = is_narrow
                              ? sort_rows<NarrowRow>(layout, user_number, item_number, raw, rows)
                              : sort_rows<WideRow>(layout, user_number, item_number, raw, rows);
  if (dropped.repeats == 0) return rows;
  report << raw.name << ": " << with_commas(dropped.repeats)
         << (dropped.repeats == 1 ? " repeat" : " repeats") << " of a user's item dropped";
  if (dropped.across_splits > 0) {
    report << ", " << with_commas(dropped.across_splits) << " of them in two of the "
           << (split == SplitKind::column ? "split's parts" : "files")
           << " (kept where it comes first: training, validation, test)";
  } else {
    report << (is_given(split) ? "" : ", the earliest kept");
  }
  report << "\n";
  return rows;
}

}  // namespace micrec
