#include "train/log/metrics_log.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "checkpoints/store.h"
#include "data/dataset_file.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "train/log/progress.h"
#include "train/log/run_clock.h"
#include "train/log/step_clock.h"
#include "train/log/traffic.h"
#include "train/run_settings.h"
#include "train/trainer.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

bool is_kept(const std::string& line, std::int64_t step, bool repeats_validation) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return false;  // cut off by a crash
  const auto kind = object.find("kind");
  if (kind == object.end()) return false;
  if (*kind == "end" || *kind == "test" || *kind == "validation_of_all") return false;
  const auto at = object.find("step");
  if (at == object.end() || !at->is_number_integer()) return false;
  // An attempt that went on from here as well has left nothing, or a validation that comes again.
  if (*kind == "resume" || *kind == "start") --step;
  if (*kind == "validation" && repeats_validation) --step;
  // Compared as what it is: a number above the largest int64 would become a negative one.
  if (at->is_number_unsigned()) {
    return step >= 0 && at->get<std::uint64_t>() <= static_cast<std::uint64_t>(step);
  }
  return at->get<std::int64_t>() <= step;
}

// Keeps the lines up to a step. The new file takes the place of the old in one instant.
void drop_lines_after(const std::string& path, std::int64_t step, bool repeats_validation) {
  const std::string beside = path + ".writing";
  {
    std::ifstream lines(path);
    if (!lines) refuse_path("open", path, errno);
    std::ofstream kept(beside, std::ios::trunc);
    for (std::string line; std::getline(lines, line);) {
      if (is_kept(line, step, repeats_validation)) kept << line << '\n';
    }
    kept.close();
    if (lines.bad() || !kept) {
      const int error = errno;
      fs::remove(beside);
      refuse_path("write", beside, error);
    }
  }
  sync_to_disk(beside);
  std::error_code error;
  fs::rename(beside, path, error);
  if (error) refuse_path("write", path, error.value());
}

ordered_json line_of(const char* kind, std::int64_t step) {
  return {{"kind", kind}, {"step", step}};
}

ordered_json to_json(const std::vector<RunPhase>& phases) {
  ordered_json list = ordered_json::array();
  for (const RunPhase& phase : phases) {
    list.push_back(
        {{"phase", phase.name}, {"seconds", phase.seconds}, {"memory_bytes", phase.memory_bytes}});
  }
  return list;
}

}  // namespace

std::string MetricsLog::path_in(const std::string& run_dir) {
  return (fs::path(run_dir) / "metrics.jsonl").string();
}

MetricsLog::MetricsLog(const std::string& run_dir, std::int64_t step, bool repeats_validation)
    : path_(path_in(run_dir)) {
  if (is_there(path_)) drop_lines_after(path_, step, repeats_validation);
  file_ = Descriptor(path_, O_WRONLY | O_APPEND | O_CREAT);
  if (!file_.ok()) refuse_path("write", path_, errno);
}

void MetricsLog::append(const ordered_json& object) {
  if (!file_.ok()) return;
  // A line in one write, so that a crash cannot leave half of one before another.
  const std::string line =
      object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  if (!file_.write(line)) refuse_path("write", path_, errno);
}

void MetricsLog::start(std::int64_t step, const ordered_json& facts,
                       const std::vector<RunPhase>& phases) {
  ordered_json line = line_of("start", step);
  line.update(facts);
  line["phases"] = to_json(phases);
  append(line);
}

void MetricsLog::step(const StepRecord& record) {
  ordered_json line = line_of("step", record.step);
  line["epoch"] = record.epoch;
  line["loss"] = record.loss;
  for (const auto& [name, part] : record.parts.by_name) line[name] = part;
  line["learning_rate"] = record.learning_rate;
  line["seconds"] = record.seconds;
  line["triples_per_second"] = record.triples_per_second;
  append(line);
}

void MetricsLog::validation(std::int64_t epoch, std::int64_t step, const ValidatedMetric& metric,
                            bool improved, const ordered_json& report) {
  ordered_json line = line_of("validation", step);
  line["epoch"] = epoch;
  line["metric"] = metric.value;
  if (metric.margin) line["margin"] = *metric.margin;
  line["improved"] = improved;
  line.update(report);
  append(line);
}

void MetricsLog::result(const char* kind, std::int64_t step, const ordered_json& report) {
  ordered_json line = line_of(kind, step);
  line.update(report);
  append(line);
}

void MetricsLog::save(const SavedCheckpoint& saved) {
  ordered_json line = line_of("save", saved.step);
  line["checkpoint"] = saved.name;
  line["bytes"] = saved.bytes;
  line["seconds"] = saved.seconds;
  line["blocked_seconds"] = saved.blocked_seconds;
  line["copy_seconds"] = saved.copy_seconds;
  line["write_seconds"] = saved.write_seconds;
  append(line);
}

void MetricsLog::ledger(std::int64_t step, const Traffic& traffic) {
  ordered_json line = line_of("ledger", step);
  line["steps"] = traffic.steps;
  ordered_json collectives = ordered_json::object();
  for (const TrafficLine& one : traffic.lines()) {
    ordered_json& entry = collectives[one.name];
    entry["phase"] = phase_of(one.name);
    entry["calls_per_step"] = one.calls;
    entry["bytes_per_step"] = one.bytes;
    if (const std::optional<double> ratio = one.over_bound()) {
      entry["bound_bytes_per_step"] = one.bound_bytes;
      entry["over_bound"] = *ratio;
    }
    entry["largest_rank_bytes_per_step"] = one.largest_rank_bytes;
    entry["waited_seconds_per_step"] = one.waited_seconds;
    entry["hidden_seconds_per_step"] = one.hidden_seconds;
  }
  const TrafficLine all = traffic.sum();
  line["bytes_per_step"] = all.bytes;
  if (const std::optional<double> ratio = all.over_bound()) line["over_bound"] = *ratio;
  line["collectives"] = std::move(collectives);
  append(line);
}

void MetricsLog::fit(std::int64_t step, const FittedRegression& fit) {
  ordered_json line = line_of("fit", step);
  line["seconds"] = fit.seconds;
  if (fit.planned_seconds) line["planned_seconds"] = *fit.planned_seconds;
  if (fit.sent.ranks > 1) {
    ordered_json collectives = ordered_json::object();
    for (const TrafficLine& one : fit.sent.lines()) {
      ordered_json& entry = collectives[one.name];
      entry["calls"] = one.calls;
      entry["bytes"] = one.bytes;
      if (fit.sent.bound_bytes.contains(one.name)) entry["planned_bytes"] = one.bound_bytes;
      entry["largest_rank_bytes"] = one.largest_rank_bytes;
    }
    const TrafficLine all = fit.sent.sum();
    line["bytes"] = all.bytes;
    if (fit.planned_seconds) line["planned_bytes"] = all.bound_bytes;
    line["collectives"] = std::move(collectives);
  }
  append(line);
}

void MetricsLog::resume(std::int64_t step, const std::string& checkpoint,
                        const std::vector<ChangedSetting>& changes) {
  ordered_json line = line_of("resume", step);
  line["checkpoint"] = checkpoint;
  std::map<std::string, ordered_json> by_flag;
  for (const ChangedSetting& change : changes) {
    by_flag[change.name] = {{"before", change.before}, {"now", change.now}};
  }
  line["changed"] = by_flag;
  append(line);
}

void MetricsLog::profile(const StepProfile& profile) {
  ordered_json line = line_of("profile", profile.step);
  line["steps"] = profile.steps;
  ordered_json host;
  for (int part = 0; part < kStepParts; ++part) {
    host[name_of(static_cast<StepPart>(part))] = profile.part_ms[part];
  }
  host["exchange"] = profile.exchange_ms;
  host["total"] = profile.total_ms;
  line["ms_per_step"] = host;
  const auto steps = static_cast<double>(profile.steps);
  ordered_json device;  // null where no GPU was recorded
  if (profile.device) {
    const DeviceTime& time = *profile.device;
    const auto ms = [&](double ns) { return ns / 1e6 / steps; };
    for (int part = 0; part < kStepParts; ++part) {
      device[name_of(static_cast<StepPart>(part))] = ms(time.busy_ns[part]);
    }
    device["exchange"] = ms(time.exchange_ns);
    device["idle"] = ms(time.idle_ns);
    device["total"] = ms(time.total_ns);
  }
  line["device_ms_per_step"] = device;
  const auto per_step = [&](std::int64_t DeviceTime::*count) -> ordered_json {
    if (!profile.device) return nullptr;
    return static_cast<double>((*profile.device).*count) / steps;
  };
  line["launches_per_step"] = per_step(&DeviceTime::launches);
  line["uploads_per_step"] = per_step(&DeviceTime::uploads);
  line["downloads_per_step"] = per_step(&DeviceTime::downloads);
  line["waits_per_step"] = per_step(&DeviceTime::waits);
  if (!profile.device_note.empty()) line["device_note"] = profile.device_note;
  append(line);
}

void MetricsLog::end(std::int64_t step, const std::string& reason, double seconds,
                     const std::vector<RunPhase>& phases) {
  ordered_json line = line_of("end", step);
  line["reason"] = reason;
  line["seconds"] = seconds;
  line["phases"] = to_json(phases);
  append(line);
}

ordered_json dataset_facts(const DatasetFile& dataset) {
  ordered_json domains = ordered_json::object();
  for (const DomainInfo& domain : dataset.domains()) {
    ordered_json& told = domains[domain.name];
    told["users"] = domain.users;
    told["items"] = domain.items;
    for (const Split split : {Split::train, Split::valid, Split::test, Split::later}) {
      told[name_of(split)] = domain.interactions[static_cast<int>(split)];
    }
    ordered_json& modalities = told["modalities"] = ordered_json::object();
    for (const ModalityInfo& modality : domain.modalities) {
      modalities[modality.name] = modality.present;
    }
  }
  return {{"path", dataset.path()},
          {"fingerprint", dataset.fingerprint()},
          {"split", dataset.origin().split_rule},
          {"hold_out", dataset.origin().hold_out},
          {"core", dataset.origin().core},
          {"domains", std::move(domains)}};
}

}  // namespace micrec
