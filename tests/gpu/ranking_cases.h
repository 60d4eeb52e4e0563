#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/device_ranking.h"
#include "tests/evaluate/ranking_world.h"

// What a device must count of a ranking as the CPU does, whether it is a GPU or one that is played.
namespace micrec {

/// The rows of a part of the items, from the last to the first, as World::candidates() has them.
inline DeviceCandidates candidates_on(c10::Device device, const World& world, std::int64_t begin,
                                      std::int64_t end, bool linear) {
  std::vector<float> rows;
  std::vector<std::int32_t> row_of, lengths, columns;
  std::vector<float> values;
  for (std::int64_t i = begin; i < end; ++i) {
    row_of.push_back(static_cast<std::int32_t>(end - 1 - i));
  }
  const SparseRows& all = world.coefficients;
  std::int32_t sources = 0;
  for (const std::int32_t source : all.column) sources = std::max(sources, source + 1);
  for (std::int64_t i = end; i-- > begin;) {
    rows.insert(rows.end(), world.item(i), world.item(i) + world.dim);
    const std::int64_t first = all.offsets[i];
    const std::int64_t last = all.offsets[i + 1];
    lengths.push_back(static_cast<std::int32_t>(last - first));
    columns.insert(columns.end(), all.column.begin() + first, all.column.begin() + last);
    values.insert(values.end(), all.value.begin() + first, all.value.begin() + last);
  }
  DeviceRows coefficients;
  if (linear) {
    coefficients = {at::tensor(lengths, at::kInt).to(device),
                    at::tensor(columns, at::kInt).to(device),
                    at::tensor(values, at::kFloat).to(device)};
  }
  return {at::tensor(rows, at::kFloat).view({end - begin, world.dim}).to(device),
          begin,
          row_of,
          std::span(world.group).subspan(begin, end - begin),
          world.groups,
          coefficients,
          sources};
}

/// World::count() by a device, with the linear terms of so many bytes stored at a time.
inline std::vector<std::int32_t> count_on(c10::Device device, const World& world, std::int64_t part,
                                          std::span<const ScoreMix> mixes,
                                          std::int64_t sums_bytes = kRankSumsBytes) {
  const bool linear =
      std::ranges::any_of(mixes, [](const ScoreMix& mix) { return !mix.is_product_alone(); });
  RankedUsers users = world.people();
  users.rows = {};
  if (!linear) users.histories = nullptr;
  const at::Tensor rows =
      at::tensor(world.user_rows, at::kFloat).view({world.users, world.dim}).to(device);
  DeviceRanking ranking(rows, users, world.positives, world.masked, mixes, world.groups,
                        sums_bytes);
  const auto candidates = [&](std::int64_t begin) {
    return candidates_on(device, world, begin, std::min(world.items, begin + part), linear);
  };
  for (std::int64_t begin = 0; begin < world.items; begin += part) {
    ranking.score(candidates(begin));
  }
  for (std::int64_t begin = 0; begin < world.items; begin += part) {
    ranking.count(candidates(begin));
  }
  return ranking.ahead();
}

/// Ties, masked items, groups and items left out, users without anything; one tile and several, of
/// users and of items; columns that do and do not fill what a block holds of them.
inline void expect_counts_of_the_cpu(c10::Device device) {
  for (const bool whole : {true, false}) {
    for (const int groups : {1, 3}) {
      for (const std::int64_t items : {1, 127, 129, 300, 2200}) {
        for (const std::int64_t users : {0, 1, 65}) {
          for (const std::int64_t dim : {1, 16, 21}) {
            const World world(users, items, dim, groups, whole);
            EXPECT_EQ(count_on(device, world, items, kProductAlone), world.count(1, items))
                << "whole " << whole << ", groups " << groups << ", items " << items << ", users "
                << users << ", dim " << dim;
          }
        }
      }
    }
  }
  for (const std::int64_t dim : {64, 130}) {
    const World world(70, 400, dim, 1, false);
    EXPECT_EQ(count_on(device, world, 400, kProductAlone), world.count(1, 400)) << dim;
  }
}

/// Linear terms in every mix at once and weighed by age, in blocks of items and few users at a
/// time.
inline void expect_mixed_counts_of_the_cpu(c10::Device device) {
  for (const bool whole : {true, false}) {
    World world(150, 300, 17, 3, whole);
    EXPECT_EQ(count_on(device, world, 300, kOneOfEach), world.count(1, 300, kOneOfEach));
    for (std::size_t n = 0; n < world.histories.values.size(); ++n) {
      world.history_weights.push_back(std::exp2(-static_cast<float>(n % 23) / 5));
    }
    const std::vector<std::int32_t> weighed = world.count(1, 300, kOneOfEach);
    for (const std::int64_t part : {300, 128, 77}) {
      for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{300 * 4 * 70}}) {
        EXPECT_EQ(count_on(device, world, part, kOneOfEach, bytes), weighed)
            << "whole " << whole << ", parts of " << part << ", " << bytes << " bytes";
      }
    }
    const ScoreMix alone[] = {{.embeddings = false, .regression = 1}};
    World without = world;
    without.dim = 0;
    without.user_rows.clear();
    without.item_rows.clear();
    EXPECT_EQ(count_on(device, without, 300, alone), world.count(1, 300, alone));
  }
}

/// A history longer than a block has threads, and sources that more items have than that.
inline void expect_long_histories_of_the_cpu(c10::Device device) {
  World world(3, 700, 4, 1, false);
  const Random random(8, Purpose::synthetic);
  world.coefficients = {};
  for (std::int64_t i = 0; i < world.items; ++i) {
    for (std::int32_t source = 0; source < 600; ++source) {
      if (random.index(3, i * 600 + source) > 0) continue;
      world.coefficients.column.push_back(source);
      world.coefficients.value.push_back(static_cast<float>(random.normal(i * 600 + source, 1)[0]));
    }
    world.coefficients.offsets.push_back(
        static_cast<std::int64_t>(world.coefficients.column.size()));
  }
  world.histories = {};
  world.history_of = {0, 1, 0};
  std::vector<std::int32_t> all(650);
  std::iota(all.begin(), all.end(), 0);
  world.histories.add(all);
  world.histories.add({});
  EXPECT_EQ(count_on(device, world, 700, kOneOfEach), world.count(1, 700, kOneOfEach));
}

}  // namespace micrec
