#include "train/log/run_logs.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace micrec {

RunLogs::RunLogs(Communicator& world, std::map<std::string, double> bound_bytes) : world_(world) {
  traffic_.bound_bytes = std::move(bound_bytes);
}

void RunLogs::open(const std::string& run_dir, const TrainingState& state, const Trainer& trainer,
                   const std::string& metric) {
  metric_ = metric;
  if (world_.rank() != 0) return;
  ProgressGoal goal{.first_step = state.step,
                    .last_step = trainer.last_step(),
                    .steps_per_epoch = trainer.steps_per_epoch(),
                    .metric = metric,
                    .best_metric = std::nullopt,
                    .best_step = state.best_step};
  if (state.best_step > 0) goal.best_metric = state.best_metric;
  metrics = MetricsLog(run_dir, state.step);
  files_.emplace(run_dir, state.step, goal);
}

void RunLogs::started(std::int64_t step, const nlohmann::ordered_json& facts, RunClock& clock) {
  metrics.start(step, facts, clock.take_phases());
  if (fit_) metrics.fit(step, *fit_);
}

void RunLogs::fitted(double seconds, const LedgerEntries& sent,
                     const std::optional<FitPlan>& plan) {
  FittedRegression& fit = fit_.emplace();
  fit.seconds = seconds;
  fit.sent = Traffic::of(world_, 1, sent);
  if (!plan) return;
  fit.planned_seconds = plan->time[plan->slowest_rank()].total();
  fit.sent.bound_bytes = bytes_by_name(plan->bytes);
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
