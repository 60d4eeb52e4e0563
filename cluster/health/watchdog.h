#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cluster/health/progress_board.h"

namespace micrec {

/// What the watchdog of a rank must know before the rank has joined the others.
struct WatchdogOptions {
  std::string program = "micrec";  ///< begins its messages
  int rank = 0;                    ///< in the whole run, as the launcher says
  int ranks = 1;
  double deadline_seconds = 300;  ///< of a collective
};

/// The rank's end of the line to its watchdog.
class WatchdogLink {
 public:
  WatchdogLink(int socket, pid_t launcher) : socket_(socket), launcher_(launcher) {}
  ~WatchdogLink();
  WatchdogLink(const WatchdogLink&) = delete;
  WatchdogLink& operator=(const WatchdogLink&) = delete;

  /// Shows the board to the watchdog, which watches its own rank's line from now on.
  void show(const ProgressBoard& board);
  /// Hands a socket of verdict_link.h over to the watchdog.
  void connect(int socket, bool is_hub, std::uint64_t token);
  /// The process that started the watchdog: mpirun or Slurm.
  pid_t launcher() const { return launcher_; }

 private:
  struct Letter;
  friend class Watchdog;

  void send(const Letter& letter, int descriptor);

  int socket_;
  pid_t launcher_;
};

/// Forks. In the child, which is the rank from now on, it returns the link. The parent stays behind
/// as the rank's watchdog and never returns: it is the process that the launcher knows, so it can
/// still speak when the rank cannot. It
/// - passes signals on to the rank;
/// - ends with the rank's exit code when that ends by itself;
/// - when the rank is killed by a signal, says so with the collective that it was in, and ends with
///   the exit code of Cause::cluster; by a stop signal it dies of the same, without a word;
/// - kills the rank when another rank has failed, or when the rank has met an error and does not
///   end, or waits past its deadline without ending itself.
///
/// Called before the process has threads and before MPI starts, since MPI does not survive a fork.
/// Cost     a process that sleeps; it shares the memory of its rank's code.
std::unique_ptr<WatchdogLink> fork_under_watchdog(const WatchdogOptions& options);

}  // namespace micrec
