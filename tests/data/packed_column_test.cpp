#include "data/packed_column.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/random.h"

namespace micrec {
namespace {

constexpr std::size_t kBlock = PackedColumn<std::int64_t>::kBlock;

/// Some blocks of numbers of up to so many bits from the least on, and a part of one.
std::vector<std::int64_t> some_numbers(int bits, std::int64_t least) {
  const Random random(bits, Purpose::synthetic);
  std::vector<std::int64_t> numbers(3 * kBlock + 7);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto drawn = random.bits(i, 0);
    const std::uint64_t all = static_cast<std::uint64_t>(drawn[0]) << 32 | drawn[1];
    numbers[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(least) +
                                           (bits == 0 ? 0 : all >> (64 - bits)));
  }
  return numbers;
}

TEST(PackedColumn, GivesBackNumbersOfEveryWidth) {
  for (int bits = 0; bits <= 64; ++bits) {
    const std::int64_t least = bits < 63 ? -1'234'567 : std::numeric_limits<std::int64_t>::min();
    const std::vector<std::int64_t> numbers = some_numbers(bits, least);
    PackedColumn<std::int64_t> one_by_one;
    for (const std::int64_t number : numbers) one_by_one.push_back(number);
    EXPECT_EQ(one_by_one, numbers) << bits;
    PackedColumn<std::int64_t> appended;
    appended.append(std::span(numbers).first(kBlock + 5));
    appended.append(std::span(numbers).subspan(kBlock + 5));
    EXPECT_EQ(appended, one_by_one) << bits;
    EXPECT_EQ(appended.back(), numbers.back());
    PackedReader<std::int64_t> reader(appended);
    for (const std::size_t at : {std::size_t{0}, kBlock - 1, kBlock, 3 * kBlock, kBlock + 3}) {
      EXPECT_EQ(reader[at], numbers[at]) << bits << " at " << at;
    }
  }
}

TEST(PackedColumn, IsReadBehindWhatItGaveBack) {
  PackedColumn<std::int32_t> column;
  std::vector<std::int32_t> numbers(1 << 20);
  const Random random(5, Purpose::synthetic);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int32_t>(random.bits(i, 0)[0]);
  }
  column.append(numbers);
  const PackedColumn<std::int32_t> copy = column;
  PackedColumn<std::int32_t>::Block room;
  for (std::size_t at = 0; at < column.size(); at += room.size()) {
    column.give_back_before(at);
    ASSERT_TRUE(std::ranges::equal(column.block(at, room), copy.block(at, room))) << at;
  }
  EXPECT_EQ(copy, numbers);
  column = {};
  EXPECT_TRUE(column.empty());
  column.push_back(7);
  EXPECT_EQ(column, (std::vector<std::int32_t>{7}));
}

}  // namespace
}  // namespace micrec
