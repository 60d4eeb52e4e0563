#pragma once

#include <ostream>
#include <string>

#include "run/run_config.h"

namespace micrec {

/// What is planned, and for which machine.
struct PlanOptions {
  RunConfig run;  // what is planned: its model, batches, partition and grid
  std::string out;
  std::string write_partition;
  int ranks = 1;
  bool compare = false;
  double memory_gib = 0;  // 0: as much as it needs
  // Of the machine; 0: calibrated or default.
  bool calibrate = false;
  int threads = 1;
  double neighbour_rate = 0;  // GB/s
  double matrix_rate = 0;     // Gop/s
  double copy_rate = 0;       // GB/s
  double bandwidth = 0;       // GB/s
  double latency = 0;         // us
};

/// Says who would own what on so many ranks, what they would send, and what a step would take; the
/// whole of `micrec plan` but its flags. Tells on `out`, and on `log` of what it has written.
///
/// Ranks    local; starts none.
/// Errors   those of RunPlanner and parse_grid_for(); Error(usage) where the plan does not fit into
///          the memory, once all is told; Error(io) of a file that cannot be written.
void plan(const PlanOptions& options, std::ostream& out, std::ostream& log);

}  // namespace micrec
