#pragma once

#include <signal.h>

#include <optional>
#include <string>
#include <vector>

namespace micrec {

/// While one exists, some signals only express the wish that the run saves and ends.
///
/// A second signal, from one second on, ends the process at once as it would without this class;
/// sooner it is taken for the same wish, since mpirun, Slurm and the watchdog may deliver one
/// twice. cluster/slurm/README.md says which signals reach the ranks under which launcher.
class StopSignals {
 public:
  /// Those that schedulers and people send.
  static const std::vector<int>& usual();

  explicit StopSignals(const std::vector<int>& signals = usual());
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct Before {
    int signal;
    struct sigaction action;
  };
  std::vector<Before> before_;
};

/// The numbers of names as in "TERM,INT,USR1"; nothing where one is no signal that can be a wish.
std::optional<std::vector<int>> parse_signals(const std::string& names);

/// Whether this process was asked to stop since the last StopSignals began.
bool stop_signal_received();

}  // namespace micrec
