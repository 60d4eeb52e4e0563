#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/number_lists.h"
#include "base/random.h"
#include "kernels/score_mix.h"
#include "kernels/sparse_rows.h"

// What made-up users are ranked with.
namespace micrec {

inline constexpr std::int64_t kPositives = 7;       // test items a user; gowalla has 7.3
inline constexpr std::int64_t kMasked = 27;         // training items a user; gowalla has 27.1
inline constexpr std::int64_t kCoefficients = 100;  // of an item
inline constexpr std::size_t kMixes = 9;

/// `count` different items a user, one in each of `count` equal parts of the catalogue.
inline NumberLists make_lists(std::int64_t users, std::int64_t items, std::int64_t count,
                              std::uint32_t draw) {
  const Random random(1, Purpose::synthetic);
  count = std::min(count, items);
  NumberLists lists;
  for (std::int64_t u = 0; u < users; ++u) {
    for (std::int64_t n = 0; n < count; ++n) {
      const std::int64_t first = items * n / count;
      const std::int64_t last = items * (n + 1) / count;
      lists.values.push_back(static_cast<std::int32_t>(
          first + static_cast<std::int64_t>(random.index(last - first, u * count + n, draw))));
    }
    lists.offsets.push_back(static_cast<std::int64_t>(lists.values.size()));
  }
  return lists;
}

/// `count` different numbers below `items` a list, rising, small numbers more often: number n with
/// a density of 1 / sqrt(n), so that what is popular is in many lists.
inline NumberLists make_popular_lists(std::int64_t lists, std::int64_t items, std::int64_t count,
                                      std::uint32_t draw) {
  const Random random(1, Purpose::synthetic, draw);
  count = std::min(count, items);
  NumberLists made;
  for (std::int64_t n = 0; n < lists; ++n) {
    std::set<std::int32_t> list;
    for (std::uint32_t d = 0; static_cast<std::int64_t>(list.size()) < count; ++d) {
      const double x = random.uniform(n, d);
      list.insert(static_cast<std::int32_t>(static_cast<double>(items) * x * x));
    }
    made.values.insert(made.values.end(), list.begin(), list.end());
    made.offsets.push_back(static_cast<std::int64_t>(made.values.size()));
  }
  return made;
}

inline SparseRows make_coefficients(std::int64_t items) {
  const Random random(2, Purpose::synthetic);
  NumberLists lists = make_popular_lists(items, items, kCoefficients, 2);
  SparseRows rows{std::move(lists.offsets), std::move(lists.values), {}};
  for (std::int64_t n = 0; n < rows.nonzeros(); ++n) {
    rows.value.push_back(static_cast<float>(random.uniform(n)));
  }
  return rows;
}

/// As many mixes as a choice tries, the first without a linear term.
inline std::vector<ScoreMix> make_mixes() {
  std::vector<ScoreMix> mixes(kMixes);
  for (std::size_t m = 0; m < kMixes; ++m) mixes[m].regression = 0.5F * static_cast<float>(m);
  return mixes;
}

}  // namespace micrec
