#include "train/run_settings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "checkpoints/directory.h"
#include "checkpoints/run_folder.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/tables/log_lines.h"
#include "train/log/metrics_log.h"

namespace micrec {
namespace {

const RunSetting* find(const std::vector<RunSetting>& settings, const std::string& name) {
  const auto found = std::ranges::find(settings, name, &RunSetting::name);
  return found == settings.end() ? nullptr : &*found;
}

/// The first checkpoint that the log of a run tells of.
std::optional<std::string> saved_once(const std::string& run_dir) {
  const std::string path = MetricsLog::path_in(run_dir);
  std::optional<std::string> saved;
  if (!is_there(path)) return saved;
  take_log_lines(path, [&](const nlohmann::ordered_json& line) {
    if (saved || text_in(line, "kind") != "save") return;
    const nlohmann::ordered_json& checkpoint = member(line, "checkpoint");
    if (checkpoint.is_string()) saved = checkpoint.get<std::string>();
  });
  return saved;
}

}  // namespace

std::vector<std::string> different_settings(const std::vector<RunSetting>& now,
                                            const std::string& saved, const std::string& origin) {
  std::vector<std::string> differences;
  for (const FlagSetting& then : parse_flagfile(saved, origin)) {
    const RunSetting* const setting = find(now, then.name);
    if (setting == nullptr || setting->on_resume != OnResume::kept) continue;
    if (setting->value == then.value) continue;
    differences.push_back(
        text("--", then.name, "=", setting->value, " (the checkpoint has ", then.value, ")"));
  }
  return differences;
}

std::vector<ChangedSetting> changed_settings(const std::vector<RunSetting>& now,
                                             const std::string& saved, const std::string& origin) {
  const std::vector<FlagSetting> then = parse_flagfile(saved, origin);
  std::vector<ChangedSetting> changes;
  for (const RunSetting& setting : now) {
    if (setting.on_resume != OnResume::recorded) continue;
    // Of a name that is there twice the last holds.
    const auto found = std::find_if(then.rbegin(), then.rend(), [&](const FlagSetting& one) {
      return one.name == setting.name;
    });
    if (found != then.rend() && found->value != setting.value) {
      changes.push_back({setting.name, found->value, setting.value});
    }
  }
  return changes;
}

std::optional<std::string> settings_before_first_checkpoint(const std::string& run_dir) {
  const std::string config = config_file_of(run_dir);
  const std::string directory = checkpoints_of(run_dir);
  if (!is_there(config) || newest_checkpoint(directory)) return std::nullopt;
  if (const std::optional<std::string> saved = saved_once(run_dir)) {
    throw Error(Cause::checkpoint, directory, " holds no checkpoint to go on from, though ",
                MetricsLog::path_in(run_dir), " tells of ", excerpt(*saved),
                "; bring the run's checkpoints back, or leave --resume out to start anew");
  }
  return read_small_file(config, kMostFlagfileBytes);
}

SavedSettings settings_to_resume(const std::string& run_dir) {
  if (const auto begun = settings_before_first_checkpoint(run_dir)) {
    return {*begun, config_file_of(run_dir)};
  }
  // The ranks, once joined, verify every byte, may step back to an older one and compare its
  // settings with these.
  const Checkpoint checkpoint = open_newest_valid(checkpoints_of(run_dir), Verify::sizes);
  const std::string config = config_file_of(run_dir);
  if (is_there(config)) return {read_small_file(config, kMostFlagfileBytes), config};
  return {checkpoint.info().config, checkpoint.directory()};
}

std::string history_of(const std::string& flagfile) {
  std::string history;
  for (const std::string& line : split(flagfile, '\n')) {
    if (line.starts_with(kHistoryLine)) history += line + "\n";
  }
  return history;
}

std::string history_line(std::int64_t step, const ChangedSetting& change) {
  return text(kHistoryLine, step, " on: --", change.name, "=", change.now, ", before it ",
              change.before, "\n");
}

}  // namespace micrec
