#include "train/plan/run_planner.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace micrec {
namespace {

std::int64_t batch_of(ModelKind kind, std::vector<std::int64_t> interactions, std::int64_t given) {
  ModelConfig model;
  model.kind = kind;
  const DatasetSummary summary = {NodeSpace({0}, {0}), {}, {}, std::move(interactions)};
  SamplingConfig sampling;
  sampling.batch_size = given;
  return sampling_of(model, summary, sampling).batch_size;
}

TEST(AutomaticBatch, MakesSixteenStepsAnEpochOfAnySizeOfData) {
  EXPECT_EQ(batch_of(ModelKind::micrec, {66'285, 72'193}, 0), 8'655);
  EXPECT_EQ(batch_of(ModelKind::lightgcn, {810'128}, 0), 50'633);
  EXPECT_EQ(batch_of(ModelKind::inmo, {50'000'000, 30'000'000}, 0), 5'000'000);
}

TEST(AutomaticBatch, OfFewInteractionsIsNotSmallerThanTheDefault) {
  EXPECT_EQ(batch_of(ModelKind::micrec, {500, 700}, 0), SamplingConfig().batch_size);
}

TEST(AutomaticBatch, GivesWayToAGivenOneAndToModelsThatAreSolved) {
  EXPECT_EQ(batch_of(ModelKind::micrec, {66'285, 72'193}, 100), 100);
  EXPECT_EQ(batch_of(ModelKind::ials, {66'285, 72'193}, 0), 66'285 + 72'193);
}

}  // namespace
}  // namespace micrec
