#pragma once

#include <functional>
#include <optional>

namespace micrec {

/// What mpirun, mpiexec or srun told this process through the environment, before MPI starts.
struct LaunchEnvironment {
  bool has_mpi = false;  ///< the launcher offers MPI's wiring, so MPI should be started
  int rank = 0;
  int size = 1;         ///< processes that were started together, as far as the launcher says
  int local_rank = -1;  ///< among those of this machine; -1: the launcher does not say
  int local_size = 1;   ///< processes of this machine, as far as the launcher says
};

/// Reads it from the environment, or from another lookup that returns null for what is not set.
/// Errors   Error(Cause::cluster) if Slurm or torchrun started several copies without MPI between
///          them.
LaunchEnvironment read_launch_environment();
LaunchEnvironment read_launch_environment(const std::function<const char*(const char*)>& lookup);

/// The same before anything is joined, when usage errors are told: a process alone where the
/// launcher cannot be made sense of, which the Job says when it joins.
LaunchEnvironment launched_or_alone();

/// Wall-clock seconds until the batch system ends this job (SLURM_JOB_END_TIME); negative where
/// that is past, nothing where none is said.
std::optional<double> seconds_until_job_ends();
std::optional<double> seconds_until_job_ends(const std::function<const char*(const char*)>& lookup,
                                             double now_unix_seconds);

}  // namespace micrec
