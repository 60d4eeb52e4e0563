#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/timer.h"

namespace micrec {

// One run, one folder: the lock of a run folder
// =============================================
//
// FOLDER/run.lock is there while a run writes in the folder, and says who: host, boot, process, its
// start, and a token that no other lock has. It asks of the file system no more than that a file
// can be made under a name once (link(), or O_EXCL where there are no hard links), that rename()
// replaces a file in one instant, and that a file has a time. NFS, Lustre and the like give that
// without flock() or fcntl(), which they may lack.
//
// Is the holder alive?
//   On the same boot of the same machine, and where processes have the same numbers, the system is
//   asked for the process and its start: a number that another process has by now is no holder.
//   Elsewhere its signs of life tell: the holder touches the file every heartbeat_seconds. The time
//   is the file server's, and is compared with that of a file made beside it, never with a clock of
//   one's own. Who waits watches the file for two heartbeats at least: a change is a sign of life
//   whatever any clock says. A file that is stale_seconds old, or was not touched for so long
//   before one's own eyes, is stale. Both numbers stand in the file: the holder's own count.
//
// Who takes over a stale lock?
//   Whoever makes FOLDER/run.lock.after-TOKEN, the stale lock's token, first: the name can be made
//   once. It then replaces run.lock by a rename, and removes the other name. Should it die between
//   the two, then the file after-TOKEN is the lock that counts, and is taken over in the same way:
//   the holder is whom the chain from run.lock ends with. As no token comes twice, nobody can
//   mistake a fresh lock for the stale one that it has looked at.
//
// A holder that was stopped for so long that another took over (a machine that slept) finds another
// token in the file, or no file any more: see check().

/// Who holds a lock, as its file says.
struct LockHolder {
  std::string host;
  std::string boot;           ///< of the machine: /proc/sys/kernel/random/boot_id
  std::string pid_namespace;  ///< where `process` counts
  std::int64_t process = 0;
  std::int64_t process_start = 0;  ///< in ticks after the boot
  std::string started;             ///< for people
  std::string job;                 ///< of Slurm; may be empty
  std::string token;
  double heartbeat_seconds = 5;
  double stale_seconds = 60;
};

/// A lock's file: who, and the last sign of life in seconds of the file server's clock.
struct FoundLock {
  LockHolder holder;
  double touched = 0;
};

/// This process, with a token of its own.
LockHolder this_process();

/// The lock of a run folder, from its being taken until this object goes.
///
/// Ranks    rank 0 of a run has it, for all.
/// Errors   Error(Cause::io): another run holds the folder, and who; or the folder cannot be
///          written.
/// Cost     A thread that touches one file every few seconds.
class RunLock {
 public:
  RunLock(std::string folder, LockHolder self);
  explicit RunLock(std::string folder) : RunLock(std::move(folder), this_process()) {}
  /// Gives the lock back.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Takes the lock, and returns whether it has; false: there is a holder that cannot be asked, and
  /// no sign yet whether it lives. Call it again a little later.
  bool try_take();

  /// Who is waited for, and how long at most: "process 12 on node7 (...), at most 60 s". After
  /// try_take() returned false.
  std::string waits_for() const;

  /// Throws where another run has taken over meanwhile. For the instant before something is
  /// published in the folder.
  void check();

 private:
  std::string after(const LockHolder& holder) const;
  void write_beside() const;
  double time_of_server() const;
  bool make_ours(const std::string& path) const;
  std::vector<std::string> walk(FoundLock& end) const;
  bool is_dead(const FoundLock& found);
  void begin();
  void refresh();
  void remove_leftovers() const;

  std::string folder_;
  std::string path_;
  std::string beside_;  // ours alone
  LockHolder self_;
  bool taken_ = false;

  // The holder that is watched for signs of life.
  FoundLock watched_;
  Timer since_watched_;

  std::thread heart_;
  std::mutex mutex_;  // of all below
  std::condition_variable ended_;
  bool is_ending_ = false;
  double last_sign_ = 0;  // of this run's life, in seconds after the boot
  std::optional<LockHolder> lost_to_;
};

/// The holder that a run folder's lock names, alive or not; nothing where there is none.
std::optional<LockHolder> lock_holder_of(const std::string& folder);

/// "process 12 on node7, started 2026-01-31 10:00:00 UTC, Slurm job 4711".
std::string in_words(const LockHolder& holder);

}  // namespace micrec
