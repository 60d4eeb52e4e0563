#include "partition/planning/byte_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>

namespace micrec {

double CollectiveBytes::total() const { return std::accumulate(bytes.begin(), bytes.end(), 0.0); }

double CollectiveBytes::most() const {
  return bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
}

double BytePlan::total() const {
  double sum = 0;
  for (const CollectiveBytes& collective : collectives) sum += collective.total();
  return sum;
}

std::vector<double> BytePlan::bytes_of_ranks() const {
  std::vector<double> sums;
  for (const CollectiveBytes& collective : collectives) {
    sums.resize(collective.bytes.size());
    for (std::size_t rank = 0; rank < sums.size(); ++rank) sums[rank] += collective.bytes[rank];
  }
  return sums;
}

double BytePlan::most() const {
  const std::vector<double> sums = bytes_of_ranks();
  return sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
}

const CollectiveBytes* BytePlan::find(const std::string& name) const {
  for (const CollectiveBytes& collective : collectives) {
    if (collective.name == name) return &collective;
  }
  return nullptr;
}

BytePlan plan_bytes(const std::vector<StepCosts>& costs) {
  BytePlan plan;
  for (std::size_t rank = 0; rank < costs.size(); ++rank) {
    std::size_t next = 0;
    for (const StepCosts::Exchange& exchange : costs[rank].exchanges()) {
      if (rank == 0) {
        plan.collectives.push_back(
            {exchange.name, exchange.calls, exchange.messages, std::vector<double>(costs.size())});
      }
      CHECK_LT(next, plan.collectives.size()) << exchange.name;
      CollectiveBytes& collective = plan.collectives[next++];
      CHECK_EQ(collective.name, exchange.name) << "ranks differ in what they exchange";
      collective.bytes[rank] = exchange.bytes;
    }
  }
  return plan;
}

BytePlan plan_bytes(const StepShape& shape, ProcessGrid grid, const StepNeeds& needs,
                    const std::vector<SemanticHalo>& semantic) {
  const auto parts = static_cast<std::size_t>(grid.rows);
  return plan_bytes(costs_of_ranks(shape, grid,
                                   {std::vector<RankLoad>(parts), std::vector<std::int64_t>(parts),
                                    needs, semantic, DatasetShape()}));
}

}  // namespace micrec
