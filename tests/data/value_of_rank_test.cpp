#include "data/value_of_rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace micrec {
namespace {

TEST(ValueOfRank, IsThatOfASortedList) {
  const Random random(9, Purpose::synthetic);
  // All bits; a few at the end or the beginning, with equals.
  for (const int shift : {0, 58, -58}) {
    std::vector<std::uint64_t> values(500);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto drawn = random.bits(i, 0);
      const std::uint64_t all = static_cast<std::uint64_t>(drawn[0]) << 32 | drawn[1];
      values[i] = shift < 0 ? all << -shift : all >> shift;
    }
    std::vector<std::uint64_t> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    for (std::int64_t rank = 0; rank < 500; ++rank) {
      const RankedValue found = value_of_rank(rank, [&](const auto& use) {
        for (const std::uint64_t value : values) use(value);
      });
      ASSERT_EQ(found.value, sorted[rank]);
      const auto first = std::lower_bound(sorted.begin(), sorted.end(), found.value);
      ASSERT_EQ(found.among_equals, sorted.begin() + rank - first);
    }
  }
}

}  // namespace
}  // namespace micrec
