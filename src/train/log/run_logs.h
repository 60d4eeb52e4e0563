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
#include "train/log/tensorboard.h"
#include "train/log/traffic.h"
#include "train/trainer.h"

namespace micrec {

/// Everything that a run tells about itself while it trains: metrics.jsonl, TensorBoard, a line of
/// progress, and what travelled between the ranks.
///
/// Ranks    every rank has one; only that of rank 0 writes.
/// Errors   Error(Cause::io) where a file cannot be written.
class RunLogs {
 public:
  /// `bound_bytes`: what must travel in a step, by name of the collective; may be empty.
  /// `repeats_validation`: see MetricsLog.
  RunLogs(Communicator& world, const std::string& run_dir, const ProgressGoal& goal,
          std::map<std::string, double> bound_bytes, bool repeats_validation = false);

  /// Ranks: collective.
  void stepped(const StepRecord& record);
  /// `report`: the evaluation's JSON; `by_domain`: the metric of each domain, by name.
  void validated(std::int64_t epoch, const TrainingState& state, const ValidatedMetric& metric,
                 bool improved, const nlohmann::ordered_json& report,
                 const std::vector<std::pair<std::string, double>>& by_domain);

  /// Training is over: ends the line of progress and returns the table of what travelled, or "".
  std::string end_training();

  /// For what is told there alone. That of rank 0 writes.
  MetricsLog metrics;

 private:
  struct Files {
    Files(const std::string& run_dir, const ProgressGoal& goal)
        : tensorboard(run_dir, goal.first_step), progress(goal) {}

    TensorBoardLog tensorboard;
    Progress progress;
  };

  Communicator& world_;
  Traffic traffic_;
  std::string metric_;
  std::optional<Files> files_;  // on rank 0
};

}  // namespace micrec
