#pragma once

#include <string>
#include <vector>

#include "partition/planning/step_costs.h"
#include "partition/planning/step_needs.h"
#include "partition/process_grid.h"

namespace micrec {

/// The bytes that one collective, by its name in the code, sends in a step.
struct CollectiveBytes {
  std::string name;
  double calls = 0;           ///< exchanges a step, whatever their size
  double messages = 0;        ///< to other ranks a rank and step
  std::vector<double> bytes;  // (ranks) sent to other ranks in a step

  double total() const;  ///< of all ranks
  double most() const;   ///< of the busiest rank
};

/// All collectives of a step, in the order in which they are first met.
struct BytePlan {
  std::vector<CollectiveBytes> collectives;

  double total() const;
  std::vector<double> bytes_of_ranks() const;                  // (ranks)
  double most() const;                                         ///< of the busiest rank
  const CollectiveBytes* find(const std::string& name) const;  ///< null where there is none
};

/// The bytes that must move in a training step, on average: every row that another rank needs, once
/// a receiver, and the lists that name them. What travels for the same purpose but need not (rows
/// sent twice, buffers padded to a common size, control messages) is not in it, so that a ledger of
/// what was sent can be held against it. `costs`: of all ranks.
BytePlan plan_bytes(const std::vector<StepCosts>& costs);

/// The same from what the parts need of each other. Shapes   needs and semantic halos have
/// grid.rows parts; the result has grid.ranks() ranks.
BytePlan plan_bytes(const StepShape& shape, ProcessGrid grid, const StepNeeds& needs,
                    const std::vector<SemanticHalo>& semantic);

}  // namespace micrec
