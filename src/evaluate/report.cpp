#include "evaluate/report.h"

#include <glog/logging.h>

#include <algorithm>
#include <iomanip>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"

namespace micrec {

double Report::value(const SliceReport& slice, Metric metric, std::int64_t k) const {
  const auto cutoff = std::find(this->k.begin(), this->k.end(), k);
  CHECK(cutoff != this->k.end()) << "no cutoff " << k << " in this report";
  const auto which = std::find(std::begin(kMetrics), std::end(kMetrics), metric);
  return slice.values.at((cutoff - this->k.begin()) * std::size(kMetrics) +
                         (which - std::begin(kMetrics)));
}

double Report::mean(Metric metric, std::int64_t k) const {
  double sum = 0;
  int counted = 0;
  for (const DomainReport& domain : domains) {
    const SliceReport& all = domain.slices.front();
    const double of_domain = value(all, metric, k);
    if (all.users == 0) continue;
    sum += of_domain;
    ++counted;
  }
  return counted == 0 ? 0 : sum / counted;
}

bool Report::has_users() const {
  return std::any_of(domains.begin(), domains.end(),
                     [](const DomainReport& domain) { return domain.slices.front().users > 0; });
}

nlohmann::ordered_json Report::to_json() const {
  nlohmann::ordered_json json;
  json["split"] = name_of(split);
  if (!checkpoint.empty()) json["checkpoint"] = checkpoint;
  nlohmann::ordered_json& mean_of = json["mean"] = nlohmann::ordered_json::object();
  for (const std::int64_t cutoff : k) {
    for (const Metric metric : kMetrics)
      mean_of[metric_name(metric, cutoff)] = mean(metric, cutoff);
  }
  nlohmann::ordered_json& by_domain = json["domains"] = nlohmann::ordered_json::object();
  for (const DomainReport& domain : domains) {
    nlohmann::ordered_json& out = by_domain[domain.name];
    out["candidates"] = domain.candidates;
    nlohmann::ordered_json& slices = out["slices"] = nlohmann::ordered_json::object();
    for (const SliceReport& slice : domain.slices) {
      nlohmann::ordered_json& of_slice = slices[slice.name];
      of_slice["users"] = slice.users;
      of_slice["positives"] = slice.positives;
      for (const std::int64_t cutoff : k) {
        for (const Metric metric : kMetrics) {
          of_slice[metric_name(metric, cutoff)] = value(slice, metric, cutoff);
        }
      }
    }
  }
  return json;
}

std::string Report::to_table() const {
  const auto is_shown = [](const SliceReport& slice) {
    return !slice.name.starts_with("overlapping_users.") && !slice.name.starts_with("other_users.");
  };
  std::size_t widest = 5;
  for (const DomainReport& domain : domains) {
    for (const SliceReport& slice : domain.slices) {
      if (is_shown(slice)) widest = std::max(widest, slice.name.size());
    }
  }
  std::vector<std::pair<Metric, std::int64_t>> columns;
  for (const std::int64_t cutoff : k) {
    columns.emplace_back(Metric::recall, cutoff);
    columns.emplace_back(Metric::ndcg, cutoff);
  }
  const auto width_of = [](const std::pair<Metric, std::int64_t>& column) {
    return static_cast<int>(
               std::max<std::size_t>(8, metric_name(column.first, column.second).size())) +
           2;
  };

  std::ostringstream table;
  table << std::fixed << std::setprecision(4);
  for (const DomainReport& domain : domains) {
    table << domain.name << " (" << name_of(split) << ", " << with_commas(domain.candidates)
          << " items ranked)\n";
    table << "  " << std::left << std::setw(static_cast<int>(widest)) << "slice" << std::right
          << std::setw(11) << "users" << std::setw(11) << "positives";
    for (const auto& column : columns) {
      table << std::setw(width_of(column)) << metric_name(column.first, column.second);
    }
    table << '\n';
    for (const SliceReport& slice : domain.slices) {
      if (!is_shown(slice)) continue;
      table << "  " << std::left << std::setw(static_cast<int>(widest)) << slice.name << std::right
            << std::setw(11) << with_commas(slice.users) << std::setw(11)
            << with_commas(slice.positives);
      for (const auto& column : columns) {
        table << std::setw(width_of(column));
        if (slice.users == 0) {
          table << "-";
        } else {
          table << value(slice, column.first, column.second);
        }
      }
      table << '\n';
    }
  }
  table << "mean of " << domains.size() << (domains.size() == 1 ? " domain:" : " domains:");
  for (const auto& [metric, cutoff] : columns) {
    table << ' ' << metric_name(metric, cutoff) << ' ' << mean(metric, cutoff);
  }
  table << '\n';
  return table.str();
}

}  // namespace micrec
