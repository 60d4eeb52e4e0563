#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "model/item_regression/item_regression_fit.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

// What a device must fit of item regression as the CPU does, whether it is a GPU or one that is
// played.
namespace micrec {

/// Solutions of a fit by rank.
using FittedRows = std::vector<std::vector<SparseRows>>;

inline FittedRows fit_on(const DatasetFile& dataset, const std::vector<std::string>& modalities,
                         const std::vector<ItemRegressionTask>& tasks,
                         const ShardedSetting& setting, std::int64_t chunk_products) {
  ModelConfig config;
  config.kind = ModelKind::mf;
  config.dim = 8;
  std::mutex mutex;
  FittedRows rows(setting.ranks);
  on_ranks(dataset, config, setting, [&](ModelRank& rank) {
    ASSERT_EQ(rank.shard.device, setting.device);
    const ItemRegressionFit fit(rank.dataset, rank.shard, modalities, ItemFeatures::kColumns, 3, {},
                                NeighbourSearch::automatic, chunk_products);
    std::vector<SparseRows> solutions = fit.solve(tasks, [](double) {});
    const std::lock_guard<std::mutex> lock(mutex);
    rows[rank.communicator.rank()] = std::move(solutions);
  });
  return rows;
}

inline bool same_bits(const SparseRows& a, const SparseRows& b) {
  return a.offsets == b.offsets && a.column == b.column && a.value.size() == b.value.size() &&
         std::memcmp(a.value.data(), b.value.data(), a.value.size() * sizeof(float)) == 0;
}

/// Columns of features that do and do not fill what a block holds of them; systems of all sizes up
/// to the largest; items that nobody wants; other domains' items; an item, some or all in a chunk.
inline void expect_fit_of_the_cpu(c10::Device device, decltype(ShardedSetting::over) over,
                                  const std::vector<int>& rank_counts) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world(
      {.users = 60, .items = 90, .modalities = {{"image", 40}, {"text", 64}}}, folder / "world.h5");
  const ItemRegressionTask both{
      0.6, 9, {{9, 0.6, {0, 2}}, {9, 0.6, {2, 0.5}}, {60, 0.6, {1, 3}}}, 0};
  const ItemRegressionTask one{0, 4, {{4, 0, {1, 1}}}, 0};
  ItemRegressionTask sample = both;
  sample.most_items = 25;
  const ItemRegressionTask plain{0.6, 9, {{9, 0.6, {}}, {2, 0.6, {}}}, 0};
  std::int64_t longest = 0;
  for (const ItemRegressionTask& task : {both, one, sample, plain}) {
    std::vector<std::string> modalities = {"image", "text"};
    modalities.resize(task.settings.front().alpha.size());
    for (const int ranks : rank_counts) {
      ShardedSetting setting;
      setting.ranks = ranks;
      const FittedRows expected =
          fit_on(dataset, modalities, {task, task}, setting, kChunkProducts);
      for (const SparseRows& rows : expected.front()) {
        ASSERT_GT(rows.nonzeros(), 100);
        for (std::int64_t t = 0; t < rows.rows(); ++t) {
          longest = std::max(longest, rows.offsets[t + 1] - rows.offsets[t]);
        }
      }
      setting.device = device;
      setting.over = over;
      for (const std::int64_t chunk_products :
           {std::int64_t{1}, std::int64_t{40'000}, kChunkProducts}) {
        const FittedRows got = fit_on(dataset, modalities, {task, task}, setting, chunk_products);
        for (int rank = 0; rank < ranks; ++rank) {
          ASSERT_EQ(got[rank].size(), expected[rank].size());
          for (std::size_t s = 0; s < got[rank].size(); ++s) {
            EXPECT_TRUE(same_bits(got[rank][s], expected[rank][s]))
                << ranks << " ranks, rank " << rank << ", " << modalities.size()
                << " modalities, setting " << s << ", chunks of " << chunk_products;
          }
        }
      }
    }
  }
  EXPECT_GT(longest, 64);
}

}  // namespace micrec
