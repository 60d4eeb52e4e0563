#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoints/directory.h"
#include "cluster/communicator.h"
#include "io/run_lock.h"

namespace micrec {

/// A new run must not begin over an old one's checkpoints. Errors: Error(usage) where there are.
void refuse_old_run(const std::string& run_dir);

/// What came of the wish to have a run folder for oneself.
struct HeldFolder {
  std::unique_ptr<RunLock> lock;  ///< on rank 0; the folder is this run's while it lives
  bool stopped = false;           ///< the run was asked to stop while it waited for another's end
};

/// While another run may still have the folder.
struct WaitForFolder {
  std::function<bool()> agree_to_stop;                      ///< collective
  std::function<void(const std::string& holder)> announce;  ///< once, on rank 0
};

/// Makes the folder of a run, if it is not there, and takes its lock; waits where a holder on
/// another machine cannot be asked whether it lives. See io/run_lock.h.
///
/// Ranks    collective.
/// Errors   Error(io) on all ranks where another run holds it, or where it cannot be made or
///          written.
HeldFolder hold_run_folder(const std::string& run_dir, const LockHolder& holder,
                           Communicator& communicator, const WaitForFolder& wait);

/// Path of a run's settings, there or not.
std::string config_file_of(const std::string& run_dir);

/// Writes the settings of a run, a flagfile, to its config.txt. Ranks: collective; rank 0 writes.
/// Errors   Error(io) on all ranks.
void write_config(const std::string& run_dir, const std::string& flagfile,
                  Communicator& communicator);

/// The files that a run has written about itself, checkpoints included; none where there is no such
/// folder. Errors: Error(io) where it cannot be listed.
std::vector<std::string> files_of_run(const std::string& run_dir);

/// Whatever a command reads, a run's checkpoints and its own account are not for it to write.
/// Errors   Error(usage) where `path` is one of those, naming `flag`.
void refuse_file_of_run(const std::string& flag, const std::string& path);

}  // namespace micrec
