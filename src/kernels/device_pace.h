#pragma once

#include <c10/core/Event.h>

#include <deque>

namespace micrec {

/// Keeps the host from running away from a device that it gives work to: deadlines of collectives
/// would count what the device has still to do before, and memory that is locked for copies would
/// grow. On a CPU nothing happens.
class DevicePace {
 public:
  /// `ahead`: pieces of work that the device may have yet to do while the host goes on; 0: none.
  explicit DevicePace(std::size_t ahead) : ahead_(ahead) {}

  /// A piece of work was given to the current stream: waits until so many are left at most.
  void given(c10::Device device);

 private:
  const std::size_t ahead_;
  std::deque<c10::Event> ends_;
};

}  // namespace micrec
