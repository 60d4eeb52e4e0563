#include "train/item_regression_run.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "checkpoints/coefficient_file.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

/// The flags that a run with these settings of item regression has chosen.
std::map<std::string, std::string> chosen_with(const std::string& settings) {
  const TemporaryFolder run;
  SelfCommunicator self;
  CheckpointInfo info;
  info.grid = "1x1";
  info.step = 6;
  if (!settings.empty()) {
    info.item_regression =
        write_coefficients(coefficient_file_of(run.path()), 1, std::vector<std::int32_t>{0},
                           {{0, 1}, {0}, {0.5F}}, {"0123456789abcdef", settings}, self);
  }
  CheckpointStore(run / "checkpoints", self).save(info, {}, {});
  std::map<std::string, std::string> flags;
  for (const FlagSetting& flag :
       chosen_item_regression(Checkpoint::open(run / "checkpoints/step-000000000006"))) {
    flags[flag.name] = flag.value;
  }
  return flags;
}

using Flags = std::map<std::string, std::string>;

TEST(ChosenItemRegression, IsAValueADomain) {
  EXPECT_EQ(chosen_with(R"({"chosen": {
      "food": {"lambda": 60.0, "cross": 0.6, "alpha": {"text": 2.0, "image": 2.0}},
      "kitchen": {"lambda": 300.0, "cross": 0, "alpha": {"text": 0.5}, "recency": 4.0}}})"),
            (Flags{{"regression_lambda", "60.0,300.0"},
                   {"regression_cross", "0.6,0"},
                   {"regression_alpha", "2.0,0.5"},
                   {"recency", "0,4.0"}}));
}

TEST(ChosenItemRegression, LeavesOutWhatOneFlagCannotSay) {
  EXPECT_EQ(chosen_with(R"({"chosen": {
      "food": {"lambda": 60.0, "cross": 0.6, "alpha": {"text": 2.0, "image": 1.0}}}})"),
            (Flags{{"regression_lambda", "60.0"}, {"regression_cross", "0.6"}, {"recency", "0"}}));
}

TEST(ChosenItemRegression, IsNothingWhereNothingIsTold) {
  EXPECT_EQ(chosen_with(""), Flags{}) << "no item regression";
  EXPECT_EQ(chosen_with(R"({"asked": 1})"), Flags{});
  EXPECT_EQ(chosen_with(R"({"chosen": {"food": {"lambda": 60.0}}})"), Flags{});
}

}  // namespace
}  // namespace micrec
