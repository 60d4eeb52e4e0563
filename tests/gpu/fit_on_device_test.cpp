// The fit of item regression as a GPU does it, on a device that the host plays, against the CPU's.
#include <gtest/gtest.h>

#include <cstdio>

#include "fit_cases.h"
#include "played_device.h"

namespace micrec {
namespace {

TEST(FitOnDevice, HasTheBitsOfTheCpuInAnyChunksOnAnyRanks) {
  expect_fit_of_the_cpu(played_device(), over_played_device, {1, 2, 3});
}

/// A chunk of systems is one copy there, two launches and one copy back.
TEST(FitOnDevice, AsksLittleOfTheDevice) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.users = 60, .items = 90}, folder / "world.h5");
  const ItemRegressionTask task{0.6, 9, {{9, 0.6, {0, 2}}, {9, 0.6, {2, 1}}, {60, 0.6, {1, 3}}}, 0};
  ShardedSetting setting;
  setting.device = played_device();
  setting.over = over_played_device;
  ModelConfig config;
  config.kind = ModelKind::mf;
  config.dim = 8;
  constexpr std::int64_t kBatches = 2;  // one a domain
  std::int64_t chunks_before = 0;
  for (const std::int64_t chunk_products : {kChunkProducts, std::int64_t{40'000}}) {
    on_ranks(dataset, config, setting, [&](ModelRank& rank) {
      const ItemRegressionFit fit(rank.dataset, rank.shard, {"image", "text"},
                                  ItemFeatures::kColumns, 3, {}, NeighbourSearch::automatic,
                                  chunk_products);
      const DeviceWork before = device_work();
      fit.solve({task, task}, [](double) {});
      DeviceWork work = device_work() - before;
      const std::int64_t chunks = work.by_operator["item_systems"];
      std::printf("%ld chunks: %ld launches, %ld uploads, %ld downloads, %ld waits\n", chunks,
                  work.launches, work.uploads, work.downloads, work.waits);
      EXPECT_GT(chunks, chunks_before);
      EXPECT_EQ(work.launches, 2 * chunks);
      EXPECT_EQ(work.uploads, chunks + 4 * kBatches);
      EXPECT_EQ(work.downloads, chunks);
      EXPECT_EQ(work.waits, chunks + 2 * kBatches)
          << "for features that go there, and what comes back";
      chunks_before = chunks;
    });
  }
  EXPECT_GT(chunks_before, kBatches);
}

}  // namespace
}  // namespace micrec
