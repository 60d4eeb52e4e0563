#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/timer.h"

namespace micrec {

/// What a run did one after the other: its time, and the memory that it had held at most by then.
struct RunPhase {
  std::string name;
  double seconds = 0;
  double memory_bytes = 0;  ///< of this process, at most until the phase ended
};

/// The time of a run since it began, in phases.
class RunClock {
 public:
  double seconds() const { return since_start_.seconds(); }

  /// What came since the phase before is told under this name.
  void phase_ended(const std::string& name) {
    phases_.push_back({name, since_phase_.seconds(), peak_memory_bytes()});
    since_phase_.restart();
  }

  /// The phases that ended since this was asked before.
  std::vector<RunPhase> take_phases() { return std::exchange(phases_, {}); }

 private:
  Timer since_start_;
  Timer since_phase_;
  std::vector<RunPhase> phases_;
};

}  // namespace micrec
