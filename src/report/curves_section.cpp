#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

constexpr double kSpreadOfLog =
    20;  // the greatest over the least value, from where on lines are flat

/// A curve a run; `value` of each line.
template <typename Line>
std::vector<Curve> curves_of(const ReportedRuns& runs, std::vector<Line> RunRecord::*lines,
                             const std::function<double(const Line&)>& value) {
  std::vector<Curve> curves;
  for (const ReportedRun& run : runs) {
    Curve& curve = curves.emplace_back();
    curve.run = run.chart;
    for (const Line& line : run.record.*lines) {
      curve.x.push_back(static_cast<double>(line.step));
      curve.y.push_back(value(line));
    }
  }
  return curves;
}

/// Whether there is more than a point to draw.
bool has_line(const std::vector<Curve>& curves) {
  return std::ranges::any_of(curves, [](const Curve& curve) { return curve.x.size() > 1; });
}

/// Least above zero and greatest of what is drawn.
std::pair<double, double> range_of(const std::vector<Curve>& curves) {
  double least = INFINITY;
  double greatest = 0;
  for (const Curve& curve : curves) {
    for (const double y : curve.y) {
      if (!std::isfinite(y)) continue;
      greatest = std::max(greatest, y);
      if (y > 0) least = std::min(least, y);
    }
  }
  return {least, greatest};
}

std::string validation_charts(const ReportedRuns& runs) {
  const bool has_lines = std::ranges::any_of(
      runs, [](const ReportedRun& run) { return run.record.validations.size() > 1; });
  if (!has_lines) return "";  // the one is told above
  std::vector<std::string> domains;
  for (const ReportedRun& run : runs) {
    for (const LoggedEvaluation& validation : run.record.validations) {
      for (const LoggedDomain& domain : validation.domains) add_once(domains, domain.name);
    }
  }
  std::string note;
  if (const LoggedEvaluation* best = runs.front().record.best(); best != nullptr) {
    note = text(runs.size() > 1 ? runs.front().chart.name + ": " : "", "best ",
                metric_text(best->metric), " at step ", with_commas(best->step));
  }
  std::string html = to_svg(
      LineChart{.title = domains.size() > 1 ? text("NDCG@20, mean of ", domains.size(), " domains")
                                            : "NDCG@20",
                .note = note,
                .curves = curves_of<LoggedEvaluation>(
                    runs, &RunRecord::validations, [](const auto& line) { return line.metric; })});
  if (domains.size() < 2) return html;
  for (const std::string& name : domains) {
    html += to_svg(
        LineChart{.title = "NDCG@20 of " + name,
                  .curves = curves_of<LoggedEvaluation>(
                      runs, &RunRecord::validations, [&name](const LoggedEvaluation& line) {
                        const LoggedDomain* domain = line.domain(name);
                        const LoggedSlice* all = domain == nullptr ? nullptr : domain->slice("all");
                        return all == nullptr ? NAN : value_of(all->metrics, kReportedMetric);
                      })});
  }
  return html;
}

/// Whether the steps of a run lower a loss: those of item regression and popularity solve nothing.
bool is_trained(const RunRecord& record) {
  return std::ranges::any_of(record.steps, [](const LoggedStep& line) { return line.loss != 0; });
}

/// Each once, in the order of the logs.
std::vector<std::string> parts_of_losses(const ReportedRuns& runs) {
  std::vector<std::string> names;
  for (const ReportedRun& run : runs) {
    for (const auto& [name, value] : run.record.steps.front().parts) add_once(names, name);
  }
  return names;
}

/// A chart of a number of step lines; empty where it is zero throughout.
std::string step_chart(const ReportedRuns& runs, const std::string& title,
                       const std::function<double(const LoggedStep&)>& value, bool may_be_log) {
  std::vector<Curve> curves = curves_of<LoggedStep>(runs, &RunRecord::steps, value);
  const auto [least, greatest] = range_of(curves);
  if (greatest <= 0 || !has_line(curves)) return "";
  const bool is_log = may_be_log && greatest > kSpreadOfLog * least;
  return to_svg(LineChart{.title = title,
                          .note = is_log ? "logarithmic" : "",
                          .scale = is_log ? Scale::log : Scale::from_zero,
                          .curves = std::move(curves)});
}

std::string charts_section(const std::string& anchor, const std::string& heading,
                           const ReportedRuns& runs, const std::string& charts) {
  if (charts.empty()) return "";
  return section_of(anchor, heading, legend_of(runs), "<div class=\"charts\">" + charts + "</div>");
}

}  // namespace

std::string curves_section(const ReportedRuns& runs) {
  const std::string validation = validation_charts(runs);
  ReportedRuns trained;
  for (const ReportedRun& run : runs) {
    if (is_trained(run.record)) trained.push_back(run);
  }
  std::string steps;
  steps += step_chart(trained, "Loss", &LoggedStep::loss, true);
  for (const std::string& part : parts_of_losses(trained)) {
    steps += step_chart(
        trained, "Loss: " + part,
        [&part](const LoggedStep& line) { return value_of(line.parts, part); }, true);
  }
  steps += step_chart(trained, "Learning rate", &LoggedStep::learning_rate, true);
  steps +=
      step_chart(trained, "Training triples per second", &LoggedStep::triples_per_second, false);
  return charts_section("validation", "Validation", runs, validation) +
         charts_section("training", "Training", runs, steps);
}

}  // namespace micrec
