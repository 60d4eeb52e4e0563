#include "report/run_record.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/tables/log_lines.h"

namespace micrec {
namespace {

using json = nlohmann::ordered_json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// The members of an object, by name; none of what is no object.
auto members(const json& value) {
  static const json none;
  return (value.is_object() ? value : none).items();
}

double real(const json& value) { return value.is_number() ? value.get<double>() : kNone; }
double real_in(const json& object, const char* name) { return real(member(object, name)); }

std::int64_t integer_in(const json& object, const char* name) {
  const json& value = member(object, name);
  if (value.is_number_unsigned()) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::min(value.get<std::uint64_t>(), kMost));
  }
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

/// A value as people write it: text as it is, numbers as JSON has them.
std::string plain(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? std::string() : value.dump();
}

/// The numbers of an object, by name.
NamedValues numbers_of(const json& object) {
  NamedValues values;
  for (const auto& [name, value] : members(object)) {
    if (value.is_number() || value.is_null()) values.emplace_back(name, real(value));
  }
  return values;
}

std::vector<std::pair<std::string, std::string>> texts_of(const json& object) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& [name, value] : members(object)) {
    if (value.is_string() || value.is_number()) texts.emplace_back(name, plain(value));
  }
  return texts;
}

/// The parts of the loss: what is a number beside the rest, see train/log/metrics_log.h.
NamedValues parts_of(const json& line) {
  NamedValues parts = numbers_of(line);
  std::erase_if(parts, [](const auto& value) {
    constexpr const char* kOthers[] = {"step",          "epoch",   "loss",
                                       "learning_rate", "seconds", "triples_per_second"};
    return std::ranges::find(kOthers, value.first) != std::end(kOthers);
  });
  return parts;
}

LoggedStep step_of(const json& line) {
  return {.step = integer_in(line, "step"),
          .loss = real_in(line, "loss"),
          .parts = parts_of(line),
          .learning_rate = real_in(line, "learning_rate"),
          .seconds = real_in(line, "seconds"),
          .triples_per_second = real_in(line, "triples_per_second")};
}

LoggedDomain domain_of(const std::string& name, const json& told) {
  LoggedDomain domain;
  domain.name = name;
  domain.candidates = integer_in(told, "candidates");
  for (const auto& [slice, values] : members(member(told, "slices"))) {
    LoggedSlice& read = domain.slices.emplace_back();
    read.name = slice;
    read.users = integer_in(values, "users");
    read.positives = integer_in(values, "positives");
    read.metrics = numbers_of(values);
    std::erase_if(read.metrics, [](const auto& value) {
      return value.first == "users" || value.first == "positives";
    });
  }
  return domain;
}

LoggedEvaluation evaluation_of(const json& line) {
  LoggedEvaluation evaluation;
  evaluation.step = integer_in(line, "step");
  evaluation.metric = real_in(line, "metric");
  evaluation.checkpoint = text_in(line, "checkpoint");
  evaluation.mean = numbers_of(member(line, "mean"));
  const json& weights = member(line, "item_regression");
  for (const auto& [name, told] : members(member(line, "domains"))) {
    LoggedDomain& domain = evaluation.domains.emplace_back(domain_of(name, told));
    for (const json& tried : member(weights, name.c_str())) {
      domain.weights.push_back({.weight = plain(member(tried, "weight")),
                                .factor = real_in(tried, "factor"),
                                .ndcg = real_in(tried, "ndcg@20")});
    }
  }
  return evaluation;
}

std::vector<LoggedPhase> phases_of(const json& line) {
  std::vector<LoggedPhase> phases;
  for (const json& phase : member(line, "phases")) {
    phases.push_back({.name = text_in(phase, "phase"),
                      .seconds = real_in(phase, "seconds"),
                      .memory_bytes = real_in(phase, "memory_bytes")});
  }
  return phases;
}

LoggedStart start_of(const json& line) {
  LoggedStart start;
  const json& dataset = member(line, "dataset");
  start.dataset = text_in(dataset, "path");
  start.fingerprint = text_in(dataset, "fingerprint");
  for (const auto& [name, told] : members(member(dataset, "domains"))) {
    start.domains.push_back({.name = name,
                             .counts = numbers_of(told),
                             .modalities = numbers_of(member(told, "modalities"))});
  }
  for (const auto& fact : texts_of(line)) {
    if (fact.first != "kind" && fact.first != "step") start.facts.push_back(fact);
  }
  start.versions = texts_of(member(line, "versions"));
  return start;
}

LoggedResume resume_of(const json& line) {
  LoggedResume resume;
  resume.step = integer_in(line, "step");
  for (const auto& [flag, change] : members(member(line, "changed"))) {
    resume.changes.push_back({flag, plain(member(change, "before")), plain(member(change, "now"))});
  }
  return resume;
}

TriedSettings settings_of(const json& told) {
  return {.lambda = real_in(told, "lambda"),
          .cross = real_in(told, "cross"),
          .alpha = numbers_of(member(told, "alpha")),
          .recency = told.is_object() && told.contains("recency") ? real_in(told, "recency") : 0,
          .ndcg = real_in(told, "ndcg@20")};
}

/// What was tried of item regression, as `micrec train` writes it into the file of coefficients.
std::vector<RegressionOfDomain> regression_of(const std::string& settings) {
  std::vector<RegressionOfDomain> domains;
  const json read = json::parse(settings, nullptr, /*allow_exceptions=*/false);
  for (const auto& [name, told] : members(member(read, "chosen"))) {
    RegressionOfDomain& domain = domains.emplace_back();
    domain.domain = name;
    domain.chosen = settings_of(told);
    for (const json& one : member(told, "tried")) {
      const TriedSettings tried = settings_of(one);
      if (tried.same_settings(domain.chosen)) domain.chosen.ndcg = tried.ndcg;
      const bool is_known = std::ranges::any_of(
          domain.tried, [&](const TriedSettings& other) { return tried.same_settings(other); });
      if (!is_known) domain.tried.push_back(tried);
    }
  }
  return domains;
}

double finite(double value) { return std::isfinite(value) ? value : 0; }

/// Sums over the lines of kind "ledger", each of which is a mean over its steps.
class SentSums {
 public:
  void add(const json& line) {
    const auto steps = static_cast<double>(integer_in(line, "steps"));
    const json& collectives = member(line, "collectives");
    if (steps <= 0 || !collectives.is_object()) return;
    steps_ += steps;
    for (const auto& [name, told] : collectives.items()) {
      SentByName& sums = names_[name];
      sums.bytes += steps * finite(real_in(told, "bytes_per_step"));
      sums.waited_seconds += steps * finite(real_in(told, "waited_seconds_per_step"));
      sums.hidden_seconds += steps * finite(real_in(told, "hidden_seconds_per_step"));
      const double bound = real_in(told, "bound_bytes_per_step");
      if (!std::isfinite(bound)) continue;
      sums.bound = sums.bound.value_or(0) + steps * bound;
      sums.over_bound = finite(real_in(told, "over_bound"));
    }
  }

  void tell(RunRecord& record) const {
    record.steps_sent = static_cast<std::int64_t>(steps_);
    for (const auto& [name, sums] : names_) {
      SentByName& sent = record.sent.emplace_back(sums);
      sent.name = name;
      for (double* sum : {&sent.bytes, &sent.waited_seconds, &sent.hidden_seconds}) *sum /= steps_;
      if (sent.bound) *sent.bound /= steps_;
    }
    std::ranges::stable_sort(record.sent, std::ranges::greater(), &SentByName::bytes);
  }

 private:
  double steps_ = 0;
  std::map<std::string, SentByName> names_;  // sums over steps, but for over_bound
};

LoggedFit fit_of(const json& line) {
  LoggedFit fit;
  fit.seconds = real_in(line, "seconds");
  fit.planned_seconds = real_in(line, "planned_seconds");
  for (const auto& [name, told] : members(member(line, "collectives"))) {
    SentByName& sent = fit.sent.emplace_back();
    sent.name = name;
    sent.bytes = finite(real_in(told, "bytes"));
    const double planned = real_in(told, "planned_bytes");
    if (std::isfinite(planned)) sent.bound = planned;
  }
  std::ranges::stable_sort(fit.sent, std::ranges::greater(), &SentByName::bytes);
  return fit;
}

/// Appends what was logged of a step, in the place of what an earlier attempt logged of it or
/// later.
template <typename Line>
void append(std::vector<Line>& lines, Line line) {
  while (!lines.empty() && lines.back().step >= line.step) lines.pop_back();
  lines.push_back(std::move(line));
}

void add_line(const json& line, RunRecord& record, SentSums& sent) {
  const std::string kind = text_in(line, "kind");
  if (kind == "step") append(record.steps, step_of(line));
  if (kind == "validation") append(record.validations, evaluation_of(line));
  if (kind == "test") record.test = evaluation_of(line);
  if (kind == "ledger") sent.add(line);
  if (kind == "fit") record.fit = fit_of(line);
  if (kind == "resume") record.resumes.push_back(resume_of(line));
  if (kind == "save") {
    ++record.saves.count;
    record.saves.bytes = real_in(line, "bytes");
    record.saves.seconds += std::max(0.0, real_in(line, "seconds"));
    record.saves.blocked_seconds += std::max(0.0, real_in(line, "blocked_seconds"));
  }
  if (kind == "start") {
    record.start = start_of(line);
    record.phases = phases_of(line);
  }
  if (kind == "end") {
    record.end = {integer_in(line, "step"), text_in(line, "reason"), real_in(line, "seconds")};
    for (LoggedPhase& phase : phases_of(line)) record.phases.push_back(std::move(phase));
  }
}

void read_metrics(const std::string& path, RunRecord& record) {
  if (!is_there(path)) return;
  SentSums sent;
  record.unreadable = take_log_lines(path, [&](const json& line) {
    ++record.lines;
    add_line(line, record, sent);
  });
  sent.tell(record);
}

}  // namespace

double value_of(const NamedValues& values, const std::string& name) {
  const auto found = std::ranges::find(values, name, &NamedValues::value_type::first);
  return found == values.end() ? kNone : found->second;
}

const LoggedSlice* LoggedDomain::slice(const std::string& wanted) const {
  const auto found = std::ranges::find(slices, wanted, &LoggedSlice::name);
  return found == slices.end() ? nullptr : &*found;
}

const LoggedDomain* LoggedEvaluation::domain(const std::string& name) const {
  const auto found = std::ranges::find(domains, name, &LoggedDomain::name);
  return found == domains.end() ? nullptr : &*found;
}

bool TriedSettings::same_settings(const TriedSettings& other) const {
  return lambda == other.lambda && cross == other.cross && alpha == other.alpha &&
         recency == other.recency;
}

const LoggedEvaluation* RunRecord::best() const {
  const LoggedEvaluation* best = nullptr;
  for (const LoggedEvaluation& validation : validations) {
    if (!std::isfinite(validation.metric)) continue;
    if (best == nullptr || validation.metric > best->metric) best = &validation;
  }
  return best;
}

std::int64_t RunRecord::last_step() const {
  std::int64_t last = end ? end->step : 0;
  if (!steps.empty()) last = std::max(last, steps.back().step);
  if (!validations.empty()) last = std::max(last, validations.back().step);
  return last;
}

RunRecord read_run_record(const RunSources& sources) {
  RunRecord record;
  record.run_dir = sources.run_dir;
  record.holder = sources.holder;
  if (is_there(sources.config)) {
    record.settings =
        parse_flagfile(read_small_file(sources.config, kMostFlagfileBytes), sources.config);
  }
  read_metrics(sources.metrics, record);
  record.regression = regression_of(sources.item_regression);
  if (record.start.dataset.empty()) {
    record.start.dataset = sources.dataset;
    record.start.fingerprint = sources.fingerprint;
    if (!sources.grid.empty()) record.start.facts.emplace_back("grid", sources.grid);
  }
  return record;
}

}  // namespace micrec
