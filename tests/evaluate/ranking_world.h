#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "evaluate/ranking.h"

namespace micrec {

/// Rows of small whole numbers, so that many scores are equal, or of any numbers.
inline std::vector<float> make_rows(std::int64_t rows, std::int64_t dim, bool whole,
                                    std::uint64_t seed) {
  const Random random(seed, Purpose::synthetic);
  std::vector<float> values(rows * dim);
  for (std::size_t n = 0; n < values.size(); ++n) {
    values[n] = whole ? static_cast<float>(random.index(3, n)) - 1
                      : static_cast<float>(random.normal(n)[0]);
  }
  return values;
}

inline float plain_score(const float* user, const float* item, std::int64_t dim) {
  float sum = 0;
  for (std::int64_t k = 0; k < dim; ++k) sum = std::fma(user[k], item[k], sum);
  return sum;
}

inline const std::vector<ScoreMix> kOneOfEach = {{},
                                                 {.embeddings = true, .regression = 0.75F},
                                                 {.embeddings = false, .regression = 1},
                                                 {.embeddings = true, .regression = 3}};

/// A world of users, items, relevant items and masked items; some users have none of either. Every
/// two users have one history of items of several domains, which some coefficients are of.
struct World {
  std::int64_t users, items, dim;
  int groups;
  std::vector<float> user_rows, item_rows;
  std::vector<std::uint8_t> group;
  std::vector<std::int32_t> row_of;
  NumberLists positives, masked, histories;
  std::vector<std::int32_t> history_of;
  std::vector<float> history_weights;  // none: each is 1
  SparseRows coefficients;             // (items)

  World(std::int64_t users, std::int64_t items, std::int64_t dim, int groups, bool whole)
      : users(users),
        items(items),
        dim(dim),
        groups(groups),
        user_rows(make_rows(users, dim, whole, 1)),
        item_rows(make_rows(items, dim, whole, 2)) {
    const Random random(3, Purpose::synthetic);
    row_of.resize(items);
    std::iota(row_of.begin(), row_of.end(), 0);
    for (std::int64_t i = items - 1; i > 0; --i)
      std::swap(row_of[i], row_of[random.index(i + 1, i)]);
    for (std::int64_t i = 0; i < items; ++i) {
      const std::uint64_t g = random.index(groups + (groups > 1), i, 1);
      group.push_back(g == static_cast<std::uint64_t>(groups) ? Candidates::kExcluded
                                                              : static_cast<std::uint8_t>(g));
    }
    for (std::int64_t u = 0; u < users; ++u) {
      for (std::int32_t i = 0; i < items; ++i) {
        const std::uint64_t fate = random.index(10, u * items + i, 2);
        if (fate == 0 && u % 5 != 0 && group[i] != Candidates::kExcluded)
          positives.values.push_back(i);
        if ((fate > 6 && u % 3 != 0) || (fate > 0 && u % 7 == 1)) masked.values.push_back(i);
      }
      positives.offsets.push_back(static_cast<std::int64_t>(positives.values.size()));
      masked.offsets.push_back(static_cast<std::int64_t>(masked.values.size()));
    }
    make_linear_term(whole);
  }

  void make_linear_term(bool whole) {
    constexpr std::int32_t kSources = 90;
    const Random random(4, Purpose::synthetic);
    for (std::int64_t u = 0; u < users; ++u) history_of.push_back(static_cast<std::int32_t>(u / 2));
    for (std::int64_t list = 0; list < (users + 1) / 2; ++list) {
      // The last sources have no coefficients at all.
      for (std::int32_t source = 0; source < kSources + 20; ++source) {
        if (list % 4 != 3 && random.index(5, list * 200 + source) == 0)
          histories.values.push_back(source);
      }
      histories.offsets.push_back(static_cast<std::int64_t>(histories.values.size()));
    }
    for (std::int64_t i = 0; i < items; ++i) {
      for (std::int32_t source = 0; source < kSources; ++source) {
        const std::uint64_t id = i * kSources + source;
        if (i % 5 == 2 || random.index(4, id, 1) > 0) continue;
        coefficients.column.push_back(source);
        coefficients.value.push_back(whole ? static_cast<float>(random.index(3, id, 2)) - 1
                                           : static_cast<float>(random.normal(id, 2)[0]));
      }
      coefficients.offsets.push_back(static_cast<std::int64_t>(coefficients.column.size()));
    }
  }

  RankedUsers people() const { return {user_rows, &histories, history_of, history_weights}; }

  /// The linear term from its definition.
  float plain_sum(std::int64_t u, std::int64_t i) const {
    float sum = 0;
    for (const std::int32_t source : histories.of(history_of[u])) {
      for (std::int64_t n = coefficients.offsets[i]; n < coefficients.offsets[i + 1]; ++n) {
        if (coefficients.column[n] == source) sum += coefficients.value[n];
      }
    }
    return sum;
  }

  float score(std::int64_t u, std::int64_t i, const ScoreMix& mix) const {
    if (!mix.embeddings) return plain_sum(u, i);
    const float product = plain_score(user(u), item(i), dim);
    return mix.regression == 0 ? product : std::fma(mix.regression, plain_sum(u, i), product);
  }

  Candidates candidates(std::int64_t begin, std::int64_t end) const {
    std::vector<float> rows;
    std::vector<std::int32_t> row_in_part;
    SparseRows in_part;
    for (std::int64_t i = begin; i < end; ++i) {
      row_in_part.push_back(static_cast<std::int32_t>(end - 1 - i));
    }
    for (std::int64_t i = end; i-- > begin;) {
      rows.insert(rows.end(), item(i), item(i) + dim);
      for (std::int64_t n = coefficients.offsets[i]; n < coefficients.offsets[i + 1]; ++n) {
        in_part.column.push_back(coefficients.column[n]);
        in_part.value.push_back(coefficients.value[n]);
      }
      in_part.offsets.push_back(static_cast<std::int64_t>(in_part.column.size()));
    }
    return Candidates(rows, dim, begin, row_in_part, std::span(group).subspan(begin, end - begin),
                      groups, in_part);
  }
  const float* item(std::int64_t i) const { return item_rows.data() + row_of[i] * dim; }
  const float* user(std::int64_t u) const { return user_rows.data() + u * dim; }

  /// All unmasked candidates of a user, best first.
  std::vector<ScoredItem> sorted(std::int64_t u, int only_group = -1,
                                 const ScoreMix& mix = {}) const {
    const std::span<const std::int32_t> mask = masked.of(u);
    const std::set<std::int32_t> out(mask.begin(), mask.end());
    std::vector<ScoredItem> all;
    for (std::int32_t i = 0; i < items; ++i) {
      if (group[i] == Candidates::kExcluded || out.count(i) > 0) continue;
      if (only_group >= 0 && group[i] != only_group) continue;
      all.push_back({i, score(u, i, mix)});
    }
    std::sort(all.begin(), all.end(), [](const ScoredItem& a, const ScoredItem& b) {
      return a.score != b.score ? a.score > b.score : a.item < b.item;
    });
    return all;
  }

  /// (mixes, positives, groups)
  std::vector<std::int32_t> count(int threads, std::int64_t part,
                                  std::span<const ScoreMix> mixes = kProductAlone) const {
    const ComputeThreads scope(threads);
    std::vector<float> scores(mixes.size() * positives.values.size(), std::nanf(""));
    std::vector<std::int32_t> ahead(mixes.size() * positives.values.size() * groups, 0);
    for (std::int64_t begin = 0; begin < items; begin += part) {
      score_pairs(candidates(begin, std::min(items, begin + part)), people(), positives, mixes,
                  scores);
    }
    for (std::int64_t begin = 0; begin < items; begin += part) {
      count_ahead(candidates(begin, std::min(items, begin + part)), people(), positives, mixes,
                  scores, masked, ahead);
    }
    return ahead;
  }
};

}  // namespace micrec
