#include "train/log/device_activity.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <glog/logging.h>
#include <kineto/ActivityType.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>
#include <set>
#include <utility>

namespace micrec {
namespace {

namespace profiler = torch::autograd::profiler;
using Type = libkineto::ActivityType;

Type type_of(const profiler::KinetoEvent& event) { return static_cast<Type>(event.activityType()); }

bool is_on_gpu(Type type) {
  return type == Type::CONCURRENT_KERNEL || type == Type::GPU_MEMCPY || type == Type::GPU_MEMSET;
}

/// Whether the host then stands still until the GPU has done everything. What waits for an event of
/// an earlier step does not.
bool waits_for_all(Type type, const std::string& name) {
  return type == Type::CUDA_RUNTIME && (name.find("StreamSynchronize") != std::string::npos ||
                                        name.find("DeviceSynchronize") != std::string::npos);
}

DeviceActivity::Kind kind_of(Type type, const std::string& name) {
  if (type == Type::CONCURRENT_KERNEL && name.find("nccl") != std::string::npos) {
    return DeviceActivity::Kind::exchange;
  }
  if (type == Type::GPU_MEMCPY && name.find("HtoD") != std::string::npos) {
    return DeviceActivity::Kind::upload;
  }
  if (type == Type::GPU_MEMCPY && name.find("DtoH") != std::string::npos) {
    return DeviceActivity::Kind::download;
  }
  return DeviceActivity::Kind::work;
}

}  // namespace

DeviceTime& DeviceTime::operator+=(const DeviceTime& other) {
  for (int part = 0; part < kStepParts; ++part) busy_ns[part] += other.busy_ns[part];
  exchange_ns += other.exchange_ns;
  idle_ns += other.idle_ns;
  total_ns += other.total_ns;
  launches += other.launches;
  uploads += other.uploads;
  downloads += other.downloads;
  waits += other.waits;
  return *this;
}

DeviceTime share_out_device_time(std::vector<DeviceActivity> activities,
                                 const std::vector<PartBegin>& begins, std::int64_t begin_ns,
                                 std::int64_t end_ns) {
  CHECK(!begins.empty());
  CHECK_LE(begin_ns, end_ns);
  DeviceTime time;
  time.total_ns = static_cast<double>(end_ns - begin_ns);
  std::sort(
      activities.begin(), activities.end(),
      [](const DeviceActivity& a, const DeviceActivity& b) { return a.begin_ns < b.begin_ns; });
  const auto part_of = [&](const DeviceActivity& activity) {
    auto after =
        std::upper_bound(begins.begin(), begins.end(), activity.launched_ns,
                         [](std::int64_t at, const PartBegin& begin) { return at < begin.at_ns; });
    if (after != begins.begin()) --after;
    return static_cast<int>(after->part);
  };
  // Work first: what it leaves free of an exchange's time is the exchange's.
  std::vector<std::pair<std::int64_t, std::int64_t>> busy;  // rising, none meets another
  std::int64_t covered = begin_ns;
  for (const DeviceActivity& activity : activities) {
    if (activity.begin_ns >= begin_ns && activity.begin_ns < end_ns) {
      time.launches += activity.kind == DeviceActivity::Kind::work ||
                       activity.kind == DeviceActivity::Kind::exchange;
      time.waits += activity.kind == DeviceActivity::Kind::wait;
      time.uploads += activity.kind == DeviceActivity::Kind::upload;
      time.downloads += activity.kind == DeviceActivity::Kind::download;
    }
    if (activity.kind == DeviceActivity::Kind::exchange ||
        activity.kind == DeviceActivity::Kind::wait) {
      continue;
    }
    const std::int64_t from = std::max(covered, activity.begin_ns);
    const std::int64_t to = std::min(end_ns, activity.end_ns);
    if (from >= to) continue;
    time.busy_ns[part_of(activity)] += static_cast<double>(to - from);
    busy.emplace_back(from, to);
    covered = to;
  }
  covered = begin_ns;
  std::size_t next = 0;
  for (const DeviceActivity& activity : activities) {
    if (activity.kind != DeviceActivity::Kind::exchange) continue;
    std::int64_t from = std::max(covered, activity.begin_ns);
    const std::int64_t to = std::min(end_ns, activity.end_ns);
    while (from < to) {
      while (next < busy.size() && busy[next].second <= from) ++next;
      const bool meets = next < busy.size() && busy[next].first < to;
      const std::int64_t free_until = meets ? std::max(from, busy[next].first) : to;
      time.exchange_ns += static_cast<double>(free_until - from);
      from = meets ? busy[next].second : to;
    }
    covered = std::max(covered, to);
  }
  time.idle_ns = time.total_ns - time.exchange_ns;
  for (const double of_part : time.busy_ns) time.idle_ns -= of_part;
  return time;
}

std::int64_t activity_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

DeviceRecorder::DeviceRecorder(c10::Device device) : device_(device) {
  if (device.is_cpu()) return;
  using torch::profiler::impl::ActivityType;
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  const std::set<ActivityType> activities = {ActivityType::CUDA};
  try {
    profiler::prepareProfiler(config, activities);
    profiler::enableProfiler(config, activities);
    recording_ = true;
  } catch (const std::exception& error) {
    why_none_ = error.what();
  }
}

DeviceRecorder::~DeviceRecorder() {
  if (recording_) stop();
}

std::vector<DeviceActivity> DeviceRecorder::stop() {
  std::vector<DeviceActivity> activities;
  if (!recording_) return activities;
  recording_ = false;
  try {
    c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
    const std::unique_ptr<profiler::ProfilerResult> result = profiler::disableProfiler();
    std::map<std::uint64_t, std::int64_t> launched_ns;  // by correlation
    for (const profiler::KinetoEvent& event : result->events()) {
      const Type type = type_of(event);
      if (type != Type::CUDA_RUNTIME && type != Type::CUDA_DRIVER) continue;
      launched_ns.emplace(event.correlationId(), static_cast<std::int64_t>(event.startNs()));
    }
    for (const profiler::KinetoEvent& event : result->events()) {
      const Type type = type_of(event);
      const bool waits = waits_for_all(type, event.name());
      if (!is_on_gpu(type) && !waits) continue;  // and on the only one that this process uses
      DeviceActivity activity;
      activity.kind = waits ? DeviceActivity::Kind::wait : kind_of(type, event.name());
      activity.begin_ns = static_cast<std::int64_t>(event.startNs());
      activity.end_ns = static_cast<std::int64_t>(event.endNs());
      const auto launch = launched_ns.find(event.correlationId());
      activity.launched_ns = launch == launched_ns.end() ? activity.begin_ns : launch->second;
      activities.push_back(activity);
    }
    if (activities.empty()) {
      why_none_ = "LibTorch's profiler recorded nothing on the GPU; CUPTI may not be allowed to";
    }
  } catch (const std::exception& error) {
    activities.clear();
    why_none_ = error.what();
  }
  return activities;
}

}  // namespace micrec
