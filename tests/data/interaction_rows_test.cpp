#include "data/interaction_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <tuple>

#include "base/random.h"
#include "data/growing_column.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

using Row = std::tuple<std::int32_t, std::int32_t, Split, std::int64_t, std::int32_t>;

RawDomain some_rows(std::int64_t count, int users, int items, bool timed) {
  const Random random(7, Purpose::synthetic);
  RawDomain raw;
  for (std::int64_t i = 0; i < count; ++i) {
    raw.user.push_back(static_cast<std::int32_t>(random.index(users, i, 0)));
    raw.item.push_back(static_cast<std::int32_t>(random.index(items, i, 1)));
    if (!timed) continue;
    raw.timestamp.push_back(static_cast<std::int64_t>(random.index(3, i, 2)) - 1);
    raw.billionths.push_back(static_cast<std::int32_t>(random.index(3, i, 3)));
    raw.given_split.push_back(static_cast<Split>(random.index(3, i, 4)));
  }
  return raw;
}

/// Numbers backwards, so that the order changes.
std::vector<std::int32_t> backwards(int count) {
  std::vector<std::int32_t> numbers(count);
  std::iota(numbers.rbegin(), numbers.rend(), 0);
  return numbers;
}

std::vector<Row> rows_of(const InteractionRows& rows) {
  std::vector<Row> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all.emplace_back(rows.user[i], rows.item[i], rows.split.empty() ? Split::train : rows.split[i],
                     rows.timestamp.empty() ? 0 : rows.timestamp[i],
                     rows.billionths.empty() ? 0 : rows.billionths[i]);
  }
  return all;
}

TEST(InteractionRows, AreSortedAsAPlainSortDoes) {
  for (const bool timed : {true, false}) {
    for (const std::int64_t count : {0, 1, 20'000}) {
      const RawDomain raw = some_rows(count, 5'000, 9, timed);
      const std::vector<std::int32_t> user_number = backwards(5'000);
      const std::vector<std::int32_t> item_number = backwards(9);
      std::vector<Row> expected;
      for (std::int64_t i = 0; i < count; ++i) {
        expected.emplace_back(user_number[raw.user[i]], item_number[raw.item[i]],
                              timed ? raw.given_split[i] : Split::train,
                              timed ? raw.timestamp[i] : 0, timed ? raw.billionths[i] : 0);
      }
      std::sort(expected.begin(), expected.end());
      for (const int threads : {1, 3}) {
        RawDomain taken = raw;
        InteractionRows rows =
            on_threads(threads, [&] { return take_rows(taken, user_number, item_number); });
        EXPECT_EQ(rows_of(rows), expected);
        EXPECT_TRUE(taken.item.empty());
        EXPECT_TRUE(taken.timestamp.empty());

        std::ostringstream report;
        drop_repeated(rows, "d", SplitKind::files, report);
        std::vector<Row> once;
        for (const Row& row : expected) {
          const bool is_repeat = !once.empty() && std::get<0>(once.back()) == std::get<0>(row) &&
                                 std::get<1>(once.back()) == std::get<1>(row);
          if (!is_repeat) once.push_back(row);
        }
        EXPECT_EQ(rows_of(rows), once);
      }
    }
  }
}

TEST(GrowingColumn, GivesBackWhatItTookOverManyPieces) {
  GrowingColumn<std::int32_t, 1 << 20> column;
  std::vector<std::int32_t> expected = {-1};
  std::vector<std::int32_t> got = {-1};
  std::int32_t next = 0;
  while (next < 3'000'000) {
    column.push_back(next);
    expected.push_back(next++);
    const std::span<std::int32_t> room = column.grow(700'001);
    ASSERT_GE(room.size(), 1U);
    ASSERT_LE(room.size(), 700'001U);
    for (std::int32_t& value : room) {
      value = next;
      expected.push_back(next++);
    }
    ASSERT_EQ(column.size() + 1, expected.size());
  }
  column.move_to(got);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(column.size(), 0U);

  column.push_back(5);
  std::vector<std::int32_t> alone;
  column.move_to(alone);
  EXPECT_EQ(alone, std::vector<std::int32_t>{5});
  column.push_back(6);
  column.move_to(alone);
  EXPECT_EQ(alone, (std::vector<std::int32_t>{5, 6}));
}

}  // namespace
}  // namespace micrec
