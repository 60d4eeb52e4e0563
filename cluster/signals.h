#pragma once

#include <signal.h>

#include <array>

#include "cluster/communicator.h"

namespace micrec {

/// While one exists, SIGTERM, SIGINT and SIGUSR2 only express the wish that the run saves and ends.
///
/// A second signal, from one second on, ends the process at once as it would without this class;
/// sooner it is taken for the same wish, since mpirun and Slurm may deliver one twice. Slurm sends
/// a signal ahead of its time limit with --signal=USR2@300; mpirun passes SIGUSR2 on, while Ctrl-C
/// makes it kill the ranks after a moment.
class StopSignals {
 public:
  static constexpr std::array<int, 3> kSignals = {SIGTERM, SIGINT, SIGUSR2};

  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  std::array<struct sigaction, kSignals.size()> before_{};
};

/// Whether this process was asked to stop since the last StopSignals began.
bool stop_signal_received();

/// Whether any rank was asked to stop: a signal may reach one process only, and none may go alone.
/// Ranks: collective.
bool agree_to_stop(Communicator& communicator, const char* name);

}  // namespace micrec
