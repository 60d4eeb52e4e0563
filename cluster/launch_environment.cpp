#include "cluster/launch_environment.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

LaunchEnvironment read_launch_environment() {
  return read_launch_environment([](const char* name) { return std::getenv(name); });
}

LaunchEnvironment read_launch_environment(const std::function<const char*(const char*)>& lookup) {
  const auto number = [&](std::initializer_list<const char*> names) -> std::optional<int> {
    for (const char* name : names) {
      const char* value = lookup(name);
      if (value == nullptr) continue;
      if (const std::optional<std::int64_t> parsed = parse_integer(value)) {
        return static_cast<int>(*parsed);
      }
    }
    return std::nullopt;
  };

  LaunchEnvironment environment;
  // Open MPI; anything with PMIx (srun --mpi=pmix, PRRTE); MPICH and Intel MPI; srun --mpi=pmi2.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "MPI_LOCALRANKID"}) {
    environment.has_mpi = environment.has_mpi || lookup(name) != nullptr;
  }
  // A batch script has SLURM_PROCID and SLURM_NTASKS too without being one of several copies; only
  // srun sets SLURM_STEP_NUM_TASKS.
  const int step_tasks = number({"SLURM_STEP_NUM_TASKS"}).value_or(1);
  if (!environment.has_mpi) {
    if (step_tasks > 1) {
      throw Error(Cause::cluster, "srun started ", step_tasks,
                  " copies of this program without MPI between them; use srun --mpi=pmix (srun "
                  "--mpi=list shows what there is) or mpirun");
    }
    const int torchrun_copies = number({"WORLD_SIZE"}).value_or(1);
    if (lookup("TORCHELASTIC_RUN_ID") != nullptr && torchrun_copies > 1) {
      throw Error(
          Cause::cluster, "torchrun started ", torchrun_copies,
          " copies of this program, which joins its ranks by MPI; use mpirun or srun --mpi=pmix");
    }
    return environment;
  }
  environment.rank =
      number({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}).value_or(0);
  environment.size = number({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}).value_or(step_tasks);
  // Open MPI; MPICH's Hydra and Intel MPI; MVAPICH; Slurm.
  environment.local_rank = number({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                   "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"})
                               .value_or(-1);
  environment.local_size =
      number({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE"})
          .value_or(1);
  return environment;
}

LaunchEnvironment launched_or_alone() {
  try {
    return read_launch_environment();
  } catch (const Error&) {
    return {};
  }
}

std::optional<double> seconds_until_job_ends() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return seconds_until_job_ends([](const char* name) { return std::getenv(name); }, now.count());
}

std::optional<double> seconds_until_job_ends(const std::function<const char*(const char*)>& lookup,
                                             double now_unix_seconds) {
  const char* value = lookup("SLURM_JOB_END_TIME");
  if (value == nullptr) return std::nullopt;
  const std::optional<double> end = parse_real(value);
  // Slurm writes 0 or the largest number for a job without a limit.
  constexpr double kFarAway = 4e9;  // unix seconds, in 2096
  if (!end || *end <= 0 || *end >= kFarAway) return std::nullopt;
  return *end - now_unix_seconds;
}

}  // namespace micrec
