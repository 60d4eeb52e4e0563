#pragma once

#include <memory>
#include <string>

#include "checkpoints/directory.h"
#include "cluster/job.h"
#include "io/run_lock.h"

namespace micrec {

/// What came of the wish to have a run folder for oneself.
struct HeldFolder {
  std::unique_ptr<RunLock> lock;  ///< on rank 0; the folder is this run's while it lives
  bool stopped = false;           ///< the run was asked to stop while it waited for another's end
};

/// Makes the folder of a run, if it is not there, and takes its lock; waits where a holder on
/// another machine cannot be asked whether it lives. See io/run_lock.h.
///
/// Ranks    collective.
/// Errors   Error(io) on all ranks where another run holds it, or where it cannot be made or
///          written.
HeldFolder hold_run_folder(const std::string& run_dir, Job& job);

}  // namespace micrec
