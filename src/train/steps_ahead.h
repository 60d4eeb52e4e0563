#pragma once

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <deque>

namespace micrec {

/// Keeps the host at most two steps ahead of its device: the device has always something to do, and
/// neither deadlines of collectives nor memory that is locked for copies run away.
class StepsAhead {
 public:
  explicit StepsAhead(c10::Device device) : device_(device) {}

  /// The host has given the device a step. Waits for the last but two; on a CPU for nothing.
  void given();

 private:
  c10::Device device_;
  std::deque<c10::Event> ends_;
};

}  // namespace micrec
