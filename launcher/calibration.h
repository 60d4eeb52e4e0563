#pragma once

#include "partition/planning/time_plan.h"

namespace micrec {

/// Measures this machine for a second or two: neighbour sums over rows of `dim` columns, a matrix
/// product, a copy, and messages between two ranks that are threads, all with `threads` threads a
/// rank. The median of a few repeats each. Ranks on other machines are reached by a network that is
/// slower than the memory between threads.
MachineRates calibrate(int dim, int threads);

}  // namespace micrec
