#pragma once

#include "cluster/communicator.h"
#include "partition/planning/time_plan.h"

namespace micrec {

/// Measures this machine for a second or two: neighbour sums over rows of `dim` columns, a matrix
/// product and a copy, with compute_threads() threads. The median of a few repeats each; what is
/// not measured stays at its default. Ranks: local.
MachineRates calibrate(int dim);

/// Measures messages between two ranks; with ranks that are threads, the memory between them, than
/// which a network between machines is slower. Ranks: collective; rank 0 fills its `rates`.
void calibrate_messages(Communicator& communicator, MachineRates& rates);

}  // namespace micrec
