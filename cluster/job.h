#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cluster/communicator.h"

namespace micrec {

/// How a process joins a run.
struct JobOptions {
  /// Begins the one message of a run that fails: "micrec train: rank 2 of 4: ...".
  std::string program = "micrec";
  /// Threads of a rank; 0: OMP_NUM_THREADS, or else the rank's share of the cores it may run on.
  int threads = 0;
  std::string device = "cpu";  ///< "auto", "cpu" or "cuda"
  CommunicatorOptions communicator;
  /// Signals that are only a wish, which Job::stop_requested tells; the others act as ever.
  std::vector<int> stop_signals;
  /// Start each of several ranks under a process that says why the rank died; see watchdog.h.
  bool watchdog = true;
};

/// How the processes of `micrec <command>` join where nothing says otherwise: on GPUs where every
/// rank has one, with collectives compared in a debug build.
JobOptions job_of(const std::string& command);

/// One rank of a run: its communicator, device and threads, which are those that its thread
/// computes with (compute_threads()) for as long as this lives. Made by run_job, or by tests over
/// the communicators of run_ranks.
class Job {
 public:
  explicit Job(Communicator& world, int threads = 1, c10::Device device = c10::Device(c10::kCPU),
               int ranks_of_machine = 1);
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  Communicator& communicator() { return world_; }
  int rank() const { return world_.rank(); }
  int world_size() const { return world_.size(); }
  c10::Device device() const { return device_; }
  /// Ranks that share this rank's machine, this one counted.
  int ranks_of_machine() const { return ranks_of_machine_; }

  /// Whether this process was asked to stop; ranks must agree before they act on it.
  bool stop_requested() const;
  /// Whether any rank was: a signal may reach one process only, and none may go alone.
  /// Ranks    collective.
  bool agree_to_stop(const char* name);

  /// stderr on rank 0, nowhere on the others.
  std::ostream& log_once();

 private:
  Communicator& world_;
  ComputeThreads threads_;
  c10::Device device_;
  int ranks_of_machine_;
  std::ostream nowhere_{nullptr};
};

/// Joins the run that this process was started for, calls `body` with its rank, and returns the
/// exit code: what body returned, or that of the failure. The only place that decides how a process
/// dies.
///
/// Started by mpirun or srun it starts MPI, else it runs alone. An exception on any rank ends all
/// ranks: one message on stderr, the root cause's and not what followed from it, without a rank if
/// all ranks failed by the same, and the cause's exit code from mpirun too. An exception that is
/// not an Error has exit code 1, but for memory that ran out: Cause::cluster. A rank that is
/// killed, stopped or stuck ends all ranks as well, with its name, the collective it was in and the
/// exit code of Cause::cluster: at once, or when the others have waited for the deadline.
///
/// Ranks    collective; once a process under MPI, before it has threads. Errors   none thrown.
int run_job(const JobOptions& options, const std::function<int(Job&)>& body);

}  // namespace micrec
