#pragma once

#include <sys/types.h>

#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// Threads of this rank: `wanted`, or where that is 0 OMP_NUM_THREADS, or else its share of the
/// cores. Warns, on the run's first rank, where mpirun has bound the ranks to few of them;
/// `launcher` is its process.
/// Ranks    collective over the machine.
int choose_threads(int wanted, Communicator& machine, bool is_first, pid_t launcher);

/// Threads for this rank: its cores shared with the ranks of the machine that may run on them.
/// `cores_of_ranks[q]` are the cores of the q-th rank of the machine.
int share_of_cores(const std::vector<std::vector<int>>& cores_of_ranks, int own);

/// Threads of a command that runs as one process: so many, or for 0 the cores that it may run on.
/// Where ranks share cores with others, their Job decides.
int chosen_threads(int threads);

}  // namespace micrec
