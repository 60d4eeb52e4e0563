#include "run/train.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "evaluate/validation.h"
#include "run/run_report.h"
#include "tests/support/expect_error.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trained_by_threads.h"

namespace micrec {
namespace {

/// A configuration that no flag has touched.
RunConfig small_run(const std::string& dataset, const std::string& run_dir) {
  RunConfig config;
  config.dataset = dataset;
  config.run_dir = run_dir;
  config.sharing.reproducible = true;
  config.job.communicator.reproducible = true;
  config.model.dim = 8;
  config.model.layers = 2;
  config.model.feature_dim = 4;
  config.model.semantic_neighbors = 3;
  config.model.contrastive_batch = 8;
  config.sampling.batch_size = 32;
  config.training.max_steps = 6;
  config.training.validate_every_steps = 3;
  config.training.log_every = 1;
  config.k = {10, kValidationCutoff};
  config.flagfile = "--dim=8\n";
  config.versions = {{"micrec", "of a test"}};
  return config;
}

TEST(TrainWithoutFlags, AtFourRanksHasTheBitsOfOneRankAndLeavesAllFilesOfARun) {
  const TemporaryFolder folder;
  const std::string dataset = folder / "world.h5";
  write_small_world({.domains = 2, .users = 40, .items = 30}, dataset);
  const RunConfig one = small_run(dataset, folder / "one");
  RunConfig four = small_run(dataset, folder / "four");
  four.sharing.grid = "2x2";
  std::string said;
  ASSERT_EQ(train_on(1, one, said), 0) << said;
  ASSERT_EQ(train_on(4, four, said), 0) << said;
  expect_has(said, {"4 with 1 thread each, grid 2x2"});

  for (const auto& [kind, expected] : std::vector<std::pair<const char*, std::size_t>>{
           {"step", 6}, {"validation", 2}, {"test", 1}}) {
    EXPECT_EQ(lines_of(one.run_dir, kind).size(), expected) << kind;
    EXPECT_EQ(lines_of(four.run_dir, kind), lines_of(one.run_dir, kind)) << kind;
  }
  EXPECT_EQ(lines_of(four.run_dir, "start").at(0)["versions"]["micrec"], "of a test");
  EXPECT_EQ(lines_of(four.run_dir, "end").at(0)["reason"], "finished");
  EXPECT_EQ(list_checkpoints(checkpoints_of(four.run_dir)).back(), "step-000000000006");
  EXPECT_TRUE(std::filesystem::exists(four.run_dir + "/config.txt"));
  EXPECT_TRUE(std::filesystem::exists(four.run_dir + "/item_regression.h5"));
  EXPECT_TRUE(std::filesystem::exists(report_file_of(four.run_dir)));
}

}  // namespace
}  // namespace micrec
