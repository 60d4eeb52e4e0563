#include "train/log/step_clock.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "cluster/self_communicator.h"
#include "train/log/device_activity.h"

namespace micrec {
namespace {

using Kind = DeviceActivity::Kind;

constexpr int kPlanning = static_cast<int>(StepPart::planning);
constexpr int kForward = static_cast<int>(StepPart::forward);
constexpr int kBackward = static_cast<int>(StepPart::backward);

TEST(DeviceTime, IsSharedOutByWhatLaunchedIt) {
  const std::vector<PartBegin> begins = {
      {StepPart::planning, 100}, {StepPart::forward, 110}, {StepPart::backward, 200}};
  const std::vector<DeviceActivity> activities = {
      {Kind::upload, 105, 115, 102},    // planning, though forward has begun
      {Kind::work, 120, 160, 111},      // forward ...
      {Kind::work, 150, 180, 199},      // ... and on another stream until 180
      {Kind::work, 220, 230, 200},      // backward
      {Kind::exchange, 170, 210, 130},  // alone from 180 on
      {Kind::exchange, 225, 250, 201},  // alone from 230 on
      {Kind::download, 260, 270, 255},  // backward
      {Kind::work, 290, 400, 280},      // backward, cut off by the end
      {Kind::wait, 205, 290, 205},      // the host: no time of the GPU
  };
  const DeviceTime time = share_out_device_time(activities, begins, 100, 300);
  EXPECT_EQ(time.busy_ns[kPlanning], 10);
  EXPECT_EQ(time.busy_ns[kForward], 60);
  EXPECT_EQ(time.busy_ns[kBackward], 30);
  EXPECT_EQ(time.exchange_ns, 30 + 20);
  EXPECT_EQ(time.total_ns, 200);
  EXPECT_EQ(time.idle_ns, 200 - 10 - 60 - 30 - 50);
  EXPECT_EQ(time.uploads, 1);
  EXPECT_EQ(time.downloads, 1);
  EXPECT_EQ(time.launches, 6);
  EXPECT_EQ(time.waits, 1);
}

TEST(DeviceTime, OfExchangesThatMeetIsCountedOnce) {
  const std::vector<DeviceActivity> activities = {{Kind::exchange, 10, 30, 1},
                                                  {Kind::exchange, 20, 60, 2},
                                                  {Kind::exchange, 25, 28, 3},
                                                  {Kind::work, 40, 50, 4}};
  const DeviceTime time = share_out_device_time(activities, {{StepPart::forward, 0}}, 0, 100);
  EXPECT_EQ(time.exchange_ns, 40);
  EXPECT_EQ(time.busy_ns[kForward], 10);
  EXPECT_EQ(time.idle_ns, 50);
}

TEST(StepClock, TimesTheStepsAskedForAndTellsWaitingApart) {
  SelfCommunicator communicator;
  StepClock clock(3, 2, communicator, c10::Device(c10::kCPU), true);
  std::vector<StepProfile> profiles;
  for (std::int64_t step = 1; step <= 8; ++step) {
    clock.begin_step();
    clock.begin(StepPart::forward);
    // As if it had stood still for 2 s, longer than the part lasted.
    LedgerEntry waited;
    waited.waited_seconds = 2;
    communicator.ledger().record("test.wait", waited);
    clock.begin(StepPart::backward);
    clock.begin(StepPart::optimizer);
    if (const auto profile = clock.end_step(step)) profiles.push_back(*profile);
  }
  EXPECT_FALSE(clock.finish());
  ASSERT_EQ(profiles.size(), 1U);
  const StepProfile& profile = profiles.front();
  EXPECT_EQ(profile.step, 5);
  EXPECT_EQ(profile.steps, 3);
  EXPECT_NEAR(profile.exchange_ms, 2000, 1e-6);
  EXPECT_EQ(profile.part_ms[kForward], 0);
  EXPECT_GT(profile.part_ms[kPlanning], 0);
  EXPECT_NEAR(profile.total_ms,
              std::accumulate(profile.part_ms.begin(), profile.part_ms.end(), profile.exchange_ms),
              1e-9);
  EXPECT_FALSE(profile.device);
  EXPECT_EQ(profile.device_note, "");
}

TEST(StepClock, OfARunThatEndsEarlyTellsWhatItHas) {
  SelfCommunicator communicator;
  StepClock clock(100, 1, communicator, c10::Device(c10::kCPU), true);
  for (std::int64_t step = 1; step <= 3; ++step) {
    clock.begin_step();
    EXPECT_FALSE(clock.end_step(step));
  }
  const auto profile = clock.finish();
  ASSERT_TRUE(profile);
  EXPECT_EQ(profile->steps, 2);
  EXPECT_FALSE(clock.finish());
}

}  // namespace
}  // namespace micrec
