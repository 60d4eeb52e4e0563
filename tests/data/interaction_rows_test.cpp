#include "data/interaction_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <sstream>
#include <tuple>

#include "base/random.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

using Row = std::tuple<std::int32_t, std::int32_t, Split, std::int64_t, std::int32_t>;

/// Times stand `apart`.
RawDomain some_rows(std::int64_t count, int users, int items, std::int64_t apart) {
  const Random random(7, Purpose::synthetic);
  RawDomain raw;
  for (std::int64_t i = 0; i < count; ++i) {
    raw.user.push_back(static_cast<std::int32_t>(random.index(users, i, 0)));
    raw.item.push_back(static_cast<std::int32_t>(random.index(items, i, 1)));
    if (apart == 0) continue;
    raw.timestamp.push_back(apart * (static_cast<std::int64_t>(random.index(3, i, 2)) - 1));
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
  // Without times; in one number an interaction; in more.
  for (const std::int64_t apart :
       {std::int64_t{0}, std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}) {
    const bool timed = apart != 0;
    for (const std::int64_t count : {0, 1, 20'000}) {
      const RawDomain raw = some_rows(count, 5'000, 9, apart);
      const std::vector<std::int32_t> user_number = backwards(5'000);
      const std::vector<std::int32_t> item_number = backwards(9);
      std::vector<Row> expected;
      for (std::int64_t i = 0; i < count; ++i) {
        expected.emplace_back(user_number[raw.user[i]], item_number[raw.item[i]],
                              timed ? raw.given_split[i] : Split::train,
                              timed ? raw.timestamp[i] : 0, timed ? raw.billionths[i] : 0);
      }
      std::sort(expected.begin(), expected.end());
      std::vector<Row> once;
      for (const Row& row : expected) {
        const bool is_repeat = !once.empty() && std::get<0>(once.back()) == std::get<0>(row) &&
                               std::get<1>(once.back()) == std::get<1>(row);
        if (!is_repeat) once.push_back(row);
      }
      for (const int threads : {1, 3}) {
        RawDomain taken = raw;
        std::ostringstream report;
        const InteractionRows rows = on_threads(threads, [&] {
          return take_rows(taken, user_number, item_number, SplitKind::files, report);
        });
        EXPECT_EQ(rows_of(rows), once);
        EXPECT_TRUE(taken.item.empty());
        EXPECT_TRUE(taken.timestamp.empty());
      }
    }
  }
}

}  // namespace
}  // namespace micrec
