#include "partition/planning/time_plan.h"

namespace micrec {

std::vector<StepSeconds> plan_time(const std::vector<StepCosts>& costs, const MachineRates& rates) {
  std::vector<StepSeconds> times;
  for (const StepCosts& declared : costs) {
    StepSeconds time;
    time.products = declared.neighbour_bytes() / rates.neighbour_bytes_per_second;
    time.matrices = declared.matrix_operations() / rates.matrix_operations_per_second;
    time.passes = declared.copied_bytes() / rates.copy_bytes_per_second;
    double bytes = 0;
    double messages = 0;
    for (const StepCosts::Exchange& exchange : declared.exchanges()) {
      bytes += exchange.bytes;
      messages += exchange.messages;
    }
    time.network = bytes / rates.network_bytes_per_second + messages * rates.message_seconds;
    times.push_back(time);
  }
  return times;
}

}  // namespace micrec
