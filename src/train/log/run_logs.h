#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/communicator.h"
#include "train/log/metrics_log.h"
#include "train/log/progress.h"
#include "train/log/run_clock.h"
#include "train/log/tensorboard.h"
#include "train/log/traffic.h"
#include "train/plan/run_planner.h"
#include "train/trainer.h"

namespace micrec {

/// Everything that a run tells about itself while it trains: metrics.jsonl, TensorBoard, a line of
/// progress, and what travelled between the ranks.
///
/// Ranks    every rank has one; only that of rank 0 writes.
/// Errors   Error(Cause::io) where a file cannot be written.
class RunLogs {
 public:
  /// `bound_bytes`: what must travel in a step, as bound_of_bytes() has it; may be empty.
  RunLogs(Communicator& world, std::map<std::string, double> bound_bytes);

  /// Opens the logs of a run that goes on from a state. `metric`: what validation looks at.
  void open(const std::string& run_dir, const TrainingState& state, const Trainer& trainer,
            const std::string& metric);
  /// `facts`: as MetricsLog::start() takes them. The phases of the clock until now are told.
  void started(std::int64_t step, const nlohmann::ordered_json& facts, RunClock& clock);
  /// What the fit of item regression took and this rank sent for it, beside what was planned; comes
  /// before started(). Ranks: collective.
  void fitted(double seconds, const LedgerEntries& sent, const std::optional<FitPlan>& plan);

  /// Ranks: collective.
  void stepped(const StepRecord& record);
  /// `report`: the evaluation's JSON; `by_domain`: the metric of each domain, by name.
  void validated(std::int64_t epoch, const TrainingState& state, const ValidatedMetric& metric,
                 bool improved, const nlohmann::ordered_json& report,
                 const std::vector<std::pair<std::string, double>>& by_domain);

  /// Training is over: ends the line of progress and returns the table of what travelled, or "".
  std::string end_training();

  /// For what is told there alone. That of rank 0 writes, once it is open.
  MetricsLog metrics;

 private:
  struct Files {
    Files(const std::string& run_dir, std::int64_t step, const ProgressGoal& goal)
        : tensorboard(run_dir, step), progress(goal) {}

    TensorBoardLog tensorboard;
    Progress progress;
  };

  Communicator& world_;
  Traffic traffic_;
  std::optional<FittedRegression> fit_;  // until it is told
  std::string metric_;
  std::optional<Files> files_;  // on rank 0, once they are open
};

}  // namespace micrec
