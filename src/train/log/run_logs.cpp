#include "train/log/run_logs.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace micrec {

RunLogs::RunLogs(Communicator& world, const std::string& run_dir, const ProgressGoal& goal,
                 std::map<std::string, double> bound_bytes, bool repeats_validation)
    : world_(world), metric_(goal.metric) {
  traffic_.bound_bytes = std::move(bound_bytes);
  if (world_.rank() != 0) return;
  metrics = MetricsLog(run_dir, goal.first_step, repeats_validation);
  files_.emplace(run_dir, goal);
}

void RunLogs::stepped(const StepRecord& record) {
  Traffic latest = Traffic::of(world_, record.steps, record.traffic);
  latest.bound_bytes = traffic_.bound_bytes;
  traffic_.add(latest);
  if (!files_) return;
  metrics.step(record);
  files_->progress.stepped(record);
  std::vector<std::pair<std::string, double>> scalars = {{"loss/total", record.loss}};
  for (const auto& [name, part] : record.parts.by_name) {
    scalars.emplace_back(text("loss/", name), part);
  }
  scalars.emplace_back("speed/triples_per_second", record.triples_per_second);
  files_->tensorboard.scalars(record.step, scalars);
  if (world_.size() > 1) metrics.ledger(record.step, latest);
}

void RunLogs::validated(std::int64_t epoch, const TrainingState& state,
                        const ValidatedMetric& metric, bool improved,
                        const nlohmann::ordered_json& report,
                        const std::vector<std::pair<std::string, double>>& by_domain) {
  if (!files_) return;
  metrics.validation(epoch, state.step, metric, improved, report);
  files_->progress.validated(state.step, metric, improved);
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [domain, value] : by_domain) {
    values.emplace_back("validation/" + domain + "/" + metric_, value);
  }
  values.emplace_back("validation/" + metric_, metric.value);
  files_->tensorboard.scalars(state.step, values);
}

std::string RunLogs::end_training() {
  if (files_) files_->progress.end_line();
  return traffic_.to_table();
}

}  // namespace micrec
