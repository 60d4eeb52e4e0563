#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/step/shard.h"
#include "train/plan/run_planner.h"

namespace micrec {

/// The rates that predict a step, and where they are from.
struct Rates {
  MachineRates numbers;
  std::string origin;
};

/// What `micrec plan` found. `alternatives`: other partitioners on the chosen grid, that one too.
struct PlanReport {
  const Candidate& chosen;
  const GridChoice& choice;
  const std::vector<const Candidate*>& alternatives;
  const Rates& rates;
  const std::optional<FitPlan>& fit;

  /// For people.
  void print(std::ostream& out) const;
  /// For programs: all numbers.
  nlohmann::ordered_json to_json() const;
};

/// What is planned for: the data set and the model.
void print_task(std::ostream& out, const TrainingTask& task);

/// Why a plan does not fit into `limit` bytes a rank: the fullest rank and what it has most of.
std::string why_not(const GridPlan& plan, double limit);

/// What a run tells before it takes memory: the data set, the model, and who owns what.
void print_run(std::ostream& out, const TrainingTask& task, const std::string& partition,
               const Layout& layout);

/// And once it is loaded: how semantic neighbours were found where that was not exactly, ...
void print_searches(std::ostream& out, const Model& model);

/// ... and the rows that it exchanges. Ranks: collective.
void print_halo(std::ostream& out, const Shard& shard);

}  // namespace micrec
