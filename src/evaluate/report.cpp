#include "evaluate/report.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/description.h"
#include "base/table.h"
#include "base/text.h"

namespace micrec {

bool is_in_tables(const std::string& slice) {
  return !slice.starts_with("overlapping_users.") && !slice.starts_with("other_users.");
}

std::size_t Report::place_of(Metric metric, std::int64_t k) const {
  const auto cutoff = std::find(this->k.begin(), this->k.end(), k);
  CHECK(cutoff != this->k.end()) << "no cutoff " << k << " in this report";
  const auto which = std::find(std::begin(kMetrics), std::end(kMetrics), metric);
  return (cutoff - this->k.begin()) * std::size(kMetrics) + (which - std::begin(kMetrics));
}

double Report::value(const SliceReport& slice, Metric metric, std::int64_t k) const {
  return slice.values.at(place_of(metric, k));
}

std::optional<double> Report::margin_95(const DomainReport& domain, Metric metric,
                                        std::int64_t k) const {
  constexpr double kStandardErrors = 1.959964;  // of a normal distribution, 95% within
  const SliceReport& all = domain.slices.front();
  CHECK_EQ(all.squares.size(), all.values.size()) << "an interval needs squares";
  if (all.users == domain.eligible_users) return 0;
  if (all.users < 2) return std::nullopt;
  const auto users = static_cast<double>(all.users);
  const double mean = value(all, metric, k);
  const double squares = all.squares.at(place_of(metric, k));
  const double variance = std::max(0.0, squares - mean * mean) * users / (users - 1);
  const double left_out = 1 - users / static_cast<double>(domain.eligible_users);
  return kStandardErrors * std::sqrt(variance / users * left_out);
}

std::optional<double> Report::margin_95(Metric metric, std::int64_t k) const {
  double squares = 0;
  int counted = 0;
  for (const DomainReport& domain : domains) {
    if (domain.slices.front().users == 0) continue;
    const std::optional<double> margin = margin_95(domain, metric, k);
    if (!margin) return std::nullopt;
    squares += *margin * *margin;
    ++counted;
  }
  return counted == 0 ? 0 : std::sqrt(squares) / counted;
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

bool Report::is_of_sample() const {
  return std::ranges::any_of(domains, [](const DomainReport& domain) {
    return domain.slices.front().users < domain.eligible_users;
  });
}

nlohmann::ordered_json Report::sample_json() const {
  nlohmann::ordered_json json;
  for (const DomainReport& domain : domains) {
    nlohmann::ordered_json& of_domain = json[domain.name];
    of_domain = {{"users", domain.slices.front().users}, {"of", domain.eligible_users}};
    if (domain.slices.front().squares.empty()) continue;
    for (const std::int64_t cutoff : k) {
      const std::optional<double> margin = margin_95(domain, Metric::ndcg, cutoff);
      of_domain[metric_name(Metric::ndcg, cutoff) + "_margin"] =
          margin ? nlohmann::ordered_json(*margin) : nlohmann::ordered_json();
    }
  }
  return json;
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
  if (is_of_sample()) json["sample"] = sample_json();
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
          nlohmann::ordered_json& out_value = of_slice[metric_name(metric, cutoff)];
          if (slice.users > 0) out_value = value(slice, metric, cutoff);
        }
      }
    }
  }
  return json;
}

std::string Report::to_table() const {
  std::vector<std::pair<Metric, std::int64_t>> columns;
  for (const std::int64_t cutoff : k) {
    columns.emplace_back(Metric::recall, cutoff);
    columns.emplace_back(Metric::ndcg, cutoff);
  }
  // Headings as wide as numbers usually are, so that the tables of all domains stand alike.
  std::string slices = "slice";
  for (const DomainReport& domain : domains) {
    for (const SliceReport& slice : domain.slices) {
      if (is_in_tables(slice.name)) slices.resize(std::max(slices.size(), slice.name.size()), ' ');
    }
  }
  std::vector<std::string> header = {slices, "    users", "positives"};
  for (const auto& [metric, cutoff] : columns) {
    const std::string name = metric_name(metric, cutoff);
    header.push_back(std::string(8 - std::min<std::size_t>(8, name.size()), ' ') + name);
  }

  std::ostringstream table;
  for (const DomainReport& domain : domains) {
    table << domain.name << " (" << name_of(split) << ", " << with_commas(domain.candidates)
          << " items ranked";
    if (domain.slices.front().users < domain.eligible_users) {
      table << "; a sample of " << with_commas(domain.slices.front().users) << " of "
            << with_commas(domain.eligible_users) << " users";
    }
    table << ")\n";
    Table lines(header, 2);
    for (const SliceReport& slice : domain.slices) {
      if (!is_in_tables(slice.name)) continue;
      std::vector<std::string> words = {slice.name, with_commas(slice.users),
                                        with_commas(slice.positives)};
      for (const auto& [metric, cutoff] : columns) {
        words.push_back(slice.users == 0 ? "-" : decimal("%.4f", value(slice, metric, cutoff)));
      }
      lines.add(std::move(words));
    }
    lines.print(table);
  }
  const bool has_interval = is_of_sample() && !domains.front().slices.front().squares.empty();
  const auto counted = std::ranges::count_if(
      domains, [](const DomainReport& domain) { return domain.slices.front().users > 0; });
  table << "mean of " << count_of(counted, "domain") << ":";
  for (const auto& [metric, cutoff] : columns) {
    table << ' ' << metric_name(metric, cutoff) << ' ' << decimal("%.4f", mean(metric, cutoff));
    if (metric != Metric::ndcg || !has_interval) continue;
    if (const auto margin = margin_95(metric, cutoff)) table << " +-" << decimal("%.4f", *margin);
  }
  table << '\n';
  return table.str();
}

}  // namespace micrec
