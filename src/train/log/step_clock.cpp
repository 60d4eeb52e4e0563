#include "train/log/step_clock.h"

#include <algorithm>
#include <utility>

namespace micrec {
namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

StepClock::StepClock(std::int64_t steps, std::int64_t warm_up, Communicator& communicator,
                     c10::Device device, bool records_device)
    : steps_(steps),
      warm_up_(warm_up),
      communicator_(&communicator),
      device_(device),
      records_device_(records_device) {}

double StepClock::waited_seconds() const {
  double seconds = 0;
  for (const auto& [name, entry] : communicator_->ledger().snapshot()) {
    seconds += entry.waited_seconds;
  }
  return seconds;
}

void StepClock::begin_step() {
  timing_ = seen_ >= warm_up_ && seen_ < warm_up_ + steps_;
  if (timing_ && sums_.steps == 0 && records_device_) {
    recorder_ = std::make_unique<DeviceRecorder>(device_);
  }
  if (timing_) windows_.emplace_back(activity_clock_ns(), 0);
  begin(StepPart::planning);
}

void StepClock::begin(StepPart part) {
  end_part();
  part_ = part;
  range_.emplace(name_of(part));
  if (!timing_) return;
  part_waited_ = waited_seconds();
  part_began_ = Clock::now();
  if (recorder_) begins_.push_back({part, activity_clock_ns()});
}

void StepClock::end_part() {
  range_.reset();
  if (timing_ && part_) {
    const double ms = milliseconds(Clock::now() - part_began_);
    const double waited_ms = 1e3 * (waited_seconds() - part_waited_);
    sums_.exchange_ms += waited_ms;
    sums_.part_ms[static_cast<int>(*part_)] += std::max(0.0, ms - waited_ms);
  }
  part_.reset();
}

std::optional<StepProfile> StepClock::end_step(std::int64_t step) {
  end_part();
  ++seen_;
  if (!timing_) return std::nullopt;
  ++sums_.steps;
  sums_.step = step;
  windows_.back().second = activity_clock_ns();
  return sums_.steps == steps_ ? finish() : std::nullopt;
}

std::optional<StepProfile> StepClock::finish() {
  timing_ = false;
  if (sums_.steps == 0) return std::nullopt;
  StepProfile profile = std::exchange(sums_, {});
  const auto steps = static_cast<double>(profile.steps);
  for (double& ms : profile.part_ms) {
    ms /= steps;
    profile.total_ms += ms;
  }
  profile.exchange_ms /= steps;
  profile.total_ms += profile.exchange_ms;
  if (const std::unique_ptr<DeviceRecorder> recorder = std::move(recorder_)) {
    const std::vector<DeviceActivity> activities = recorder->stop();
    profile.device_note = recorder->why_none();
    if (!activities.empty()) {
      // What the last step has given the GPU ends after the host has gone on.
      for (const DeviceActivity& activity : activities) {
        if (activity.kind == DeviceActivity::Kind::wait) continue;
        windows_.back().second = std::max(windows_.back().second, activity.end_ns);
      }
      DeviceTime sum;
      for (const auto& [begin_ns, end_ns] : windows_) {
        sum += share_out_device_time(activities, begins_, begin_ns, end_ns);
      }
      profile.device = sum;
    }
  }
  return profile;
}

}  // namespace micrec
