#pragma once

#include <vector>

#include "partition/planning/step_costs.h"

namespace micrec {

/// What a rank of a machine does in a second. The defaults are round numbers of one core of a
/// server and a 10 Gbit/s network between ranks; `micrec plan --calibrate` measures the machine it
/// runs on.
struct MachineRates {
  double neighbour_bytes_per_second = 8e9;  ///< rows read by neighbour sums
  double matrix_operations_per_second = 30e9;
  double copy_bytes_per_second = 6e9;       ///< read and written once each
  double network_bytes_per_second = 1.2e9;  ///< sent by a rank
  double message_seconds = 20e-6;           ///< of one message, however small
};

/// Predicted seconds of a training step of one rank, by what it waits for.
struct StepSeconds {
  double products = 0;  ///< neighbour sums
  double matrices = 0;  ///< projections, logits
  double passes = 0;    ///< optimizer and elementwise passes over rows
  double network = 0;   ///< bytes and messages, nothing hidden behind work

  double total() const { return products + matrices + passes + network; }
};

/// Predicted step of every rank; the step of the run is the slowest rank's. `costs`: of all ranks.
std::vector<StepSeconds> plan_time(const std::vector<StepCosts>& costs, const MachineRates& rates);

}  // namespace micrec
