#pragma once

#include <functional>

#include "io/run_lock.h"

namespace micrec {

enum class SaveStep;  // checkpoints/store.h

// What tests of whole programs may do to a run by its environment. micrec itself has
// injected_faults_none.cpp and reads nothing; micrec_with_faults has
// tests/faults/injected_faults.cpp.

/// Has this process signal itself at an instant of a save; empty where it is not to.
std::function<void(SaveStep)> signals_from_environment(int rank);

/// Who takes the lock of a run folder, with the times of its signs of life.
LockHolder holder_of_this_run();

}  // namespace micrec
