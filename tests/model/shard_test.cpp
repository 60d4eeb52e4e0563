#include "model/step/shard.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cluster/thread_communicator.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

TEST(Shard, StoresRowsForSumsWhereAMatrixOfThemIsLarge) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.domains = 2}, folder / "world.h5");
  const DatasetSummary summary = summarise(dataset);
  run_ranks(2, [&](Communicator& communicator) {
    const Ownership ownership = assign_by_hash(summary.space, summary.people, 2);
    Shard shard = load_shard(dataset, summary, ownership, Observed::training, communicator);
    const std::int64_t rows = shard.graph->local_rows();
    const std::int64_t smallest = ((12 << 20) / 4 + rows - 1) / rows;  // width
    store_for_sums(shard, smallest - 1);
    EXPECT_TRUE(shard.graph->pattern().row_at.empty());
    store_for_sums(shard, smallest);
    const std::vector<std::int32_t>& row_at = shard.graph->pattern().row_at;
    ASSERT_EQ(static_cast<std::int64_t>(row_at.size()), shard.owned_rows());
    const auto is_user = [&](std::int32_t row) {
      return shard.space().is_user(shard.owned()[row]);
    };
    EXPECT_TRUE(std::ranges::is_partitioned(row_at, is_user)) << "in its one part";
  });
}

}  // namespace
}  // namespace micrec
