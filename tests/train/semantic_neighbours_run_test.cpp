#include "train/semantic_neighbours_run.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "checkpoints/coefficient_file.h"
#include "cluster/thread_communicator.h"
#include "data/dataset_file.h"
#include "io/hdf5.h"
#include "tests/support/file_contents.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

/// What all ranks of a grid have together: of each modality the neighbours of each item of all
/// domains, and how many searches there were on a rank.
struct Provided {
  std::vector<std::map<std::int32_t, std::vector<std::int32_t>>> near;
  std::size_t searches = 0;
};

class ProvidedNeighbours : public testing::Test {
 protected:
  ProvidedNeighbours() : dataset_(write_small_world({.domains = 2}, folder_ / "world.h5")) {
    config_.modalities = {"image", "text"};
    config_.semantic_neighbors = 4;
    config_ = resolve(config_, 2);
  }

  Provided provide(int rows, int columns, bool are_kept = true) {
    const DatasetSummary summary = summarise(dataset_);
    const ProcessGrid grid{rows, columns};
    Provided all;
    all.near.resize(2);
    std::mutex mutex;
    run_ranks(grid.ranks(), [&](Communicator& communicator) {
      const GridGroups groups = split_world(communicator, grid);
      const Shard shard = load_shard(dataset_, summary,
                                     make_layout(summary.space, summary.people,
                                                 scattered_ownership(summary, rows), grid, false),
                                     Observed::training, groups);
      const NeighbourFiles files{.run_dir = folder_.path(), .dataset_fingerprint = fingerprint_};
      const std::vector<SemanticLists> lists =
          provide_semantic_neighbours(files, config_, dataset_, shard);
      if (are_kept) keep_semantic_neighbours(files, config_, lists, shard);
      const std::lock_guard<std::mutex> lock(mutex);
      ASSERT_EQ(lists.size(), 2U);
      const std::vector<std::int32_t> items = owned_items(shard);
      for (std::size_t m = 0; m < lists.size(); ++m) {
        ASSERT_EQ(lists[m].near.size(), std::ssize(items));
        for (std::size_t n = 0; n < items.size(); ++n) {
          const auto of = lists[m].near.of(static_cast<std::int64_t>(n));
          const std::vector<std::int32_t> near(of.begin(), of.end());
          const auto [at, is_first] = all.near[m].emplace(items[n], near);
          EXPECT_EQ(at->second, near) << "column parts differ in item " << items[n];
        }
        if (communicator.rank() == 0) all.searches += lists[m].searches.size();
      }
    });
    return all;
  }

  std::string file_of(const char* modality) const {
    return neighbour_file_of(folder_.path(), modality);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  std::string fingerprint_ = dataset_.fingerprint();
  ModelConfig config_;
};

TEST_F(ProvidedNeighbours, AreSearchedForOnceOnAnyGrid) {
  const Provided searched = provide(2, 1);
  EXPECT_EQ(searched.searches, 4U);
  ASSERT_EQ(searched.near[1].size(), static_cast<std::size_t>(node_space(dataset_).items()));
  std::size_t found = 0;
  for (const auto& [item, near] : searched.near[1]) found += near.size();
  EXPECT_GT(found, 20U);

  for (const auto& [rows, columns] : {std::pair(1, 1), std::pair(1, 2), std::pair(3, 1)}) {
    const Provided read = provide(rows, columns);
    EXPECT_EQ(read.searches, 0U);
    EXPECT_EQ(read.near, searched.near) << rows << "x" << columns;
  }
}

TEST_F(ProvidedNeighbours, TakeTheRoomThatIsAskedFor) {
  const std::int64_t items = node_space(dataset_).items();
  const double asked = most_neighbour_bytes(folder_.path(), config_, items);
  provide(1, 1);
  constexpr double kHead = 8192;  // of a file
  const auto taken = static_cast<double>(std::filesystem::file_size(file_of("text")) +
                                         std::filesystem::file_size(file_of("image")));
  EXPECT_LT(taken, asked + 2 * kHead);
  EXPECT_GT(asked, 2.0 * items * 8);
  EXPECT_EQ(most_neighbour_bytes(folder_.path(), config_, items), 0) << "they are there";
}

TEST_F(ProvidedNeighbours, HaveAFileOfTheSameBytesWhoeverWroteIt) {
  provide(1, 1);
  const std::string one = file_contents(file_of("text"));
  ASSERT_FALSE(one.empty());
  for (const auto& [rows, columns] : {std::pair(1, 2), std::pair(3, 1)}) {
    std::filesystem::remove(file_of("text"));
    provide(rows, columns);
    EXPECT_TRUE(file_contents(file_of("text")) == one) << rows << "x" << columns;
  }
}

TEST_F(ProvidedNeighbours, AreSearchedForAgainWhereTheirFileIsDamagedOrOfOtherSettings) {
  const Provided searched = provide(1, 1);
  const auto at = Hdf5File::open(file_of("text")).offset_in_file("/source").value();
  std::fstream(file_of("text"), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(at)
      .put(0x55);
  EXPECT_EQ(provide(2, 1, /*are_kept=*/false).searches, 2U) << "of text alone";
  EXPECT_EQ(provide(2, 1).near, searched.near);
  EXPECT_EQ(provide(2, 1).searches, 0U) << "written again";

  config_.semantic_neighbors = 3;
  const Provided fewer = provide(1, 1, /*are_kept=*/false);
  EXPECT_EQ(fewer.searches, 4U);
  EXPECT_NE(fewer.near, searched.near);
  config_.semantic_neighbors = 4;
  EXPECT_EQ(provide(1, 1).searches, 0U) << "left as they were";
  config_.neighbor_search = NeighbourSearch::exact;
  EXPECT_EQ(provide(1, 1, /*are_kept=*/false).searches, 4U);
  config_.neighbor_search = NeighbourSearch::automatic;
  fingerprint_ = "of another data set";
  EXPECT_EQ(provide(1, 1, /*are_kept=*/false).searches, 4U);
  fingerprint_ = dataset_.fingerprint();

  std::filesystem::copy_file(file_of("image"), file_of("text"),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(provide(1, 1).near, searched.near) << "not those of another modality";
}

}  // namespace
}  // namespace micrec
