#include <nlohmann/json.hpp>
#include <sstream>

#include "base/description.h"
#include "base/text.h"
#include "evaluate/comparison.h"

namespace micrec {
namespace {

nlohmann::ordered_json to_json(const Interval& interval) { return {interval.low, interval.high}; }

/// {"ndcg@20": [{"value", "interval", "difference", ...} a run], ...}
nlohmann::ordered_json to_json(const Comparison& comparison,
                               const std::vector<std::vector<RunFigures>>& figures, bool shares) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t m = 0; m < comparison.metrics.size(); ++m) {
    nlohmann::ordered_json& runs = json[comparison.metrics[m]] = nlohmann::ordered_json::array();
    for (std::size_t run = 0; run < comparison.names.size(); ++run) {
      const RunFigures& of_run = figures[m][run];
      nlohmann::ordered_json& out = runs.emplace_back(nlohmann::ordered_json::object());
      out["value"] = of_run.value;
      out["interval"] = to_json(of_run.interval);
      if (run == 0) continue;
      out["difference"] = of_run.difference;
      out["difference_interval"] = to_json(of_run.difference_interval);
      out["differs"] = !of_run.difference_interval.holds_zero();
      if (!shares) continue;
      out["better"] = of_run.better;
      out["worse"] = of_run.worse;
      out["equal"] = 1 - of_run.better - of_run.worse;
    }
  }
  return json;
}

std::string row(const std::vector<std::string>& words) {
  return "| " + join(words, " | ") + " |\n";
}

std::string share(double part) { return decimal("%.1f%%", 100 * part); }

/// The cells of a line that are of one run: values, difference, interval, shares.
std::vector<std::string> cells(const RunFigures& first, const RunFigures& run, bool shares) {
  const Interval& interval = run.difference_interval;
  std::vector<std::string> words = {
      decimal("%.4f", first.value), decimal("%.4f", run.value),
      decimal("%+.4f", run.difference) + (interval.holds_zero() ? " (none)" : ""),
      text(decimal("%+.4f", interval.low), " to ", decimal("%+.4f", interval.high))};
  if (!shares) {
    words.insert(words.end(), {"", "", ""});
  } else {
    words.insert(words.end(),
                 {share(run.better), share(run.worse), share(1 - run.better - run.worse)});
  }
  return words;
}

void print_table(const Comparison& comparison, std::size_t run, std::ostream& out) {
  const auto line = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    out << row(words);
  };
  out << "## `" << comparison.names[run] << "` against `" << comparison.names[0] << "`\n\n";
  line({"domain", "slice", "users", "metric"},
       {"first", "this", "difference", "95% interval", "better", "worse", "equal"});
  out << "|---|---|--:|---|--:|--:|--:|:-:|--:|--:|--:|\n";
  for (std::size_t m = 0; m < comparison.metrics.size(); ++m) {
    const auto counted = std::ranges::count_if(
        comparison.domains, [](const DomainComparison& domain) { return !domain.slices.empty(); });
    line({"mean of " + count_of(counted, "domain"), "all", "", comparison.metrics[m]},
         cells(comparison.mean[m][0], comparison.mean[m][run], /*shares=*/false));
  }
  for (const DomainComparison& domain : comparison.domains) {
    for (const SliceComparison& slice : domain.slices) {
      if (!is_in_tables(slice.name)) continue;
      for (std::size_t m = 0; m < comparison.metrics.size(); ++m) {
        line({domain.name, slice.name, with_commas(slice.users), comparison.metrics[m]},
             cells(slice.figures[m][0], slice.figures[m][run], /*shares=*/true));
      }
    }
  }
  out << "\n";
}

}  // namespace

std::string Comparison::to_markdown() const {
  std::ostringstream out;
  out << row({"run", "model", "checkpoint", "split", "data set"}) << "|---|---|---|---|---|\n";
  for (std::size_t run = 0; run < names.size(); ++run) {
    const PerUserOrigin& origin = origins[run];
    out << row({"`" + names[run] + "`", or_none(origin.model), or_none(origin.checkpoint),
                text(name_of(origin.split), " of ", or_none(origin.split_rule)),
                or_none(origin.dataset_fingerprint)});
  }
  out << "\n";
  for (const std::string& warning : warnings) out << "**Warning:** " << warning << ".\n\n";
  for (std::size_t run = 1; run < names.size(); ++run) print_table(*this, run, out);
  out << "Users are paired. Intervals are the middle 95% of " << with_commas(bootstrap.resamples)
      << " bootstrap samples of users (seed " << bootstrap.seed
      << "); (none): the interval of the difference holds zero.\n";
  return out.str();
}

nlohmann::ordered_json Comparison::to_json() const {
  nlohmann::ordered_json json;
  nlohmann::ordered_json& runs = json["runs"] = nlohmann::ordered_json::array();
  for (std::size_t run = 0; run < names.size(); ++run) {
    const PerUserOrigin& origin = origins[run];
    runs.push_back({{"name", names[run]},
                    {"model", origin.model},
                    {"checkpoint", origin.checkpoint},
                    {"split", name_of(origin.split)},
                    {"split_rule", origin.split_rule},
                    {"hold_out", origin.hold_out},
                    {"dataset_fingerprint", origin.dataset_fingerprint}});
  }
  json["metrics"] = metrics;
  json["resamples"] = bootstrap.resamples;
  json["seed"] = bootstrap.seed;
  json["warnings"] = warnings;
  json["mean"] = micrec::to_json(*this, mean, /*shares=*/false);
  nlohmann::ordered_json& by_domain = json["domains"] = nlohmann::ordered_json::object();
  for (const DomainComparison& domain : domains) {
    nlohmann::ordered_json& slices = by_domain[domain.name]["slices"] =
        nlohmann::ordered_json::object();
    for (const SliceComparison& slice : domain.slices) {
      slices[slice.name] = {{"users", slice.users},
                            {"metrics", micrec::to_json(*this, slice.figures, /*shares=*/true)}};
    }
  }
  return json;
}

}  // namespace micrec
