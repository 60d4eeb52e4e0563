#pragma once

#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/step/step_parts.h"

namespace micrec {

/// Something that a GPU did: a kernel, a copy or a fill; or that the host waited for all that it
/// had given it. Times are nanoseconds since 1970.
struct DeviceActivity {
  enum class Kind { work, exchange, upload, download, wait };

  Kind kind = Kind::work;
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t launched_ns = 0;  // by the host
};

/// When the host began a part of a step.
struct PartBegin {
  StepPart part = StepPart::planning;
  std::int64_t at_ns = 0;
};

/// A stretch of time on a GPU by what it did. The parts, exchange and idle add up to total.
struct DeviceTime {
  std::array<double, kStepParts> busy_ns{};  // with what each part gave it
  double exchange_ns = 0;                    // with collectives alone
  double idle_ns = 0;
  double total_ns = 0;
  std::int64_t launches = 0;  // kernels, those of collectives too, copies within the GPU and fills
  std::int64_t uploads = 0;
  std::int64_t downloads = 0;
  std::int64_t waits = 0;  // of the host

  DeviceTime& operator+=(const DeviceTime& other);
};

/// Shares out the time from `begin_ns` to `end_ns`: at each instant to the part that launched the
/// activity which began first of those that run, else to the exchange, else to idle. What was
/// launched before the first part belongs to it.
/// `begins`: rising in time, at least one.
DeviceTime share_out_device_time(std::vector<DeviceActivity> activities,
                                 const std::vector<PartBegin>& begins, std::int64_t begin_ns,
                                 std::int64_t end_ns);

/// Now, on the clock of the recorded activities.
std::int64_t activity_clock_ns();

/// Records what this process's GPU does, by CUPTI through LibTorch's profiler, of which a process
/// has one. Errors: none thrown; see why_none().
class DeviceRecorder {
 public:
  /// Begins to record. On a CPU it never records anything.
  explicit DeviceRecorder(c10::Device device);
  ~DeviceRecorder();
  DeviceRecorder(const DeviceRecorder&) = delete;
  DeviceRecorder& operator=(const DeviceRecorder&) = delete;

  /// Waits for the GPU and returns what it did since; once.
  std::vector<DeviceActivity> stop();
  /// Why stop() returned nothing; empty where it returned something, or on a CPU.
  const std::string& why_none() const { return why_none_; }

 private:
  c10::Device device_;
  bool recording_ = false;
  std::string why_none_;
};

}  // namespace micrec
