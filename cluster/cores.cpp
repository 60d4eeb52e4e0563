#include "cluster/cores.h"

#include <glog/logging.h>
#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/text.h"

namespace micrec {
namespace {

std::vector<int> cores_of(const cpu_set_t& set) {
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

cpu_set_t allowed_cores(pid_t process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(process, sizeof set, &set) != 0) {
    // More cores than the set can hold, or another user's process: count them as if unbound.
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned core = 0; core < std::min<unsigned>(count, CPU_SETSIZE); ++core) {
      CPU_SET(core, &set);
    }
  }
  return set;
}

}  // namespace

int choose_threads(int wanted, Communicator& machine, bool is_first, pid_t launcher_process) {
  const cpu_set_t own = allowed_cores(0);
  std::vector<std::vector<int>> cores_of_ranks;
  cpu_set_t used;
  CPU_ZERO(&used);
  for (const cpu_set_t& set : gather_values(machine, "job.cores", own)) {
    cores_of_ranks.push_back(cores_of(set));
    CPU_OR(&used, &used, &set);
  }
  if (wanted > 0) return wanted;
  if (const char* said = std::getenv("OMP_NUM_THREADS")) {
    const std::optional<std::int64_t> threads = parse_integer(said);
    if (threads && *threads >= 1 && *threads <= 4096) return static_cast<int>(*threads);
  }
  // mpirun itself stays unbound, so its cores are those that the ranks could have.
  const cpu_set_t launcher = allowed_cores(launcher_process);
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  LOG_IF(WARNING, is_first && by_mpirun && 2 * CPU_COUNT(&used) <= CPU_COUNT(&launcher))
      << "mpirun has bound the " << machine.size() << " ranks of this machine to "
      << CPU_COUNT(&used) << " of its " << CPU_COUNT(&launcher)
      << " cores; with --bind-to none they use all";
  return share_of_cores(cores_of_ranks, machine.rank());
}

int share_of_cores(const std::vector<std::vector<int>>& cores_of_ranks, int own) {
  const std::vector<int>& mine = cores_of_ranks.at(static_cast<std::size_t>(own));
  const auto shares = std::ranges::count_if(cores_of_ranks, [&](const std::vector<int>& others) {
    return std::find_first_of(mine.begin(), mine.end(), others.begin(), others.end()) != mine.end();
  });
  return std::max(1, static_cast<int>(std::ssize(mine) / std::max<std::int64_t>(1, shares)));
}

int chosen_threads(int threads) {
  if (threads > 0) return threads;
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? std::max(1, CPU_COUNT(&allowed)) : 1;
}

}  // namespace micrec
