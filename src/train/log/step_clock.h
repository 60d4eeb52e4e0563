#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/profile_range.h"
#include "cluster/communicator.h"
#include "model/step/step_parts.h"
#include "train/log/device_activity.h"

namespace micrec {

/// Where the time of some steps went, as means of a step.
struct StepProfile {
  std::int64_t step = 0;   // the last of them
  std::int64_t steps = 0;  // timed
  /// Wall time of this rank's thread; the parts and the exchange add up to the total.
  std::array<double, kStepParts> part_ms{};
  double exchange_ms = 0;  // stood still in collectives, in whatever part
  double total_ms = 0;
  std::optional<DeviceTime> device;  // over all of them; where a GPU was recorded
  std::string device_note;           // why it was not
};

/// Shows the parts of every step to NVIDIA's profilers, and times the parts of some steps.
///
/// Ranks    one a rank, local.
/// Cost     two clock readings a part of a timed step, and on a GPU its recording by CUPTI; some
///          nanoseconds of other steps.
class StepClock final : public StepParts {
 public:
  /// Times `steps` steps after the first `warm_up` of this process; 0: none. `records_device`: what
  /// the device does meanwhile is recorded too. The communicator outlives this.
  StepClock(std::int64_t steps, std::int64_t warm_up, Communicator& communicator,
            c10::Device device, bool records_device);

  void begin_step();
  void begin(StepPart part) override;
  /// `step`: taken. Returns the profile after the last step to be timed.
  std::optional<StepProfile> end_step(std::int64_t step);
  /// The profile of the steps timed so far, where a run ends before all of them; once.
  std::optional<StepProfile> finish();

 private:
  using Clock = std::chrono::steady_clock;

  void end_part();
  double waited_seconds() const;

  std::int64_t steps_;
  std::int64_t warm_up_;
  Communicator* communicator_;
  c10::Device device_;
  bool records_device_;

  std::int64_t seen_ = 0;  // steps ended
  bool timing_ = false;
  std::optional<ProfileRange> range_;
  std::optional<StepPart> part_;
  Clock::time_point part_began_;
  double part_waited_ = 0;                                      // waited_seconds() when it began
  std::vector<std::pair<std::int64_t, std::int64_t>> windows_;  // of the timed steps, in ns
  std::vector<PartBegin> begins_;
  std::unique_ptr<DeviceRecorder> recorder_;
  StepProfile sums_;
};

}  // namespace micrec
