#include <gtest/gtest.h>

#include <cstdint>

#include "train/trainer.h"

namespace micrec {
namespace {

TEST(LearningRate, RisesWithTheRootOfAnAutomaticBatch) {
  EXPECT_EQ(learning_rate_of(0, true, 8192), 0.01);
  EXPECT_DOUBLE_EQ(learning_rate_of(0, true, 4 * 8192), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_of(0, true, 2048), 0.005);
  EXPECT_EQ(learning_rate_of(0, true, 100'000'000), 0.05);
}

TEST(LearningRate, IsTheOneAskedForAndElseThatOfAGivenBatch) {
  for (const bool is_automatic : {false, true}) {
    EXPECT_EQ(learning_rate_of(0.3, is_automatic, 100'000), 0.3);
  }
  EXPECT_EQ(learning_rate_of(0, false, 2048), 0.001);
  EXPECT_EQ(learning_rate_of(0, false, 100'000), 0.001);
}

TEST(LearningRate, IsConstantUnlessItDecays) {
  TrainingConfig config;
  config.learning_rate = 0.02;
  config.max_steps = 100;
  for (const std::int64_t step : {0, 50, 99, 1000}) {
    EXPECT_EQ(learning_rate_at(config, step), 0.02);
  }
}

TEST(LearningRate, DecaysLinearlyInTheSecondHalfToATwentieth) {
  TrainingConfig config;
  config.learning_rate = 0.02;
  config.max_steps = 100;
  config.lr_decay = true;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 50), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 75), 0.01);
  EXPECT_NEAR(learning_rate_at(config, 99), 0.05 * 0.02, 1e-12);
  for (std::int64_t step = 51; step < 100; ++step) {
    const double fall = learning_rate_at(config, step - 1) - learning_rate_at(config, step);
    EXPECT_GE(fall, 0);
    EXPECT_LE(fall, 0.02 / 50 + 1e-12);
    EXPECT_GE(learning_rate_at(config, step), 0.05 * 0.02 - 1e-12);
  }
}

}  // namespace
}  // namespace micrec
