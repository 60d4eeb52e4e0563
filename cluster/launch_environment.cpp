#include "cluster/launch_environment.h"

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
      throw Error(Cause::cluster,
                  text("srun started ", step_tasks,
                       " copies of this program without MPI between them; use srun --mpi=pmix "
                       "(srun --mpi=list shows what there is) or mpirun"));
    }
    return environment;
  }
  environment.rank =
      number({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}).value_or(0);
  environment.size = number({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}).value_or(step_tasks);
  return environment;
}

}  // namespace micrec
