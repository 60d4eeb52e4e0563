#include "run/run_report.h"

#include <glog/logging.h>

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/run_folder.h"
#include "io/paths.h"
#include "io/run_lock.h"
#include "io/unfinished_file.h"
#include "report/html_page.h"
#include "train/log/metrics_log.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

/// Where a run's folder says what.
RunSources sources_of(const std::string& run_dir) {
  RunSources sources;
  sources.run_dir = run_dir;
  sources.metrics = MetricsLog::path_in(run_dir);
  sources.config = config_file_of(run_dir);
  if (const std::string fitted = coefficient_file_of(run_dir); is_there(fitted)) {
    sources.item_regression = look_at_coefficients(fitted).origin.settings;
  }
  // What is damaged is left out; micrec verify and micrec inspect tell of it.
  Failure why;
  const std::optional<std::string> newest = newest_checkpoint(checkpoints_of(run_dir));
  if (!newest) return sources;
  if (const auto checkpoint = Checkpoint::try_open(*newest, Verify::sizes, nullptr, why)) {
    sources.dataset = checkpoint->info().dataset_path;
    sources.fingerprint = checkpoint->info().dataset_fingerprint;
    sources.grid = checkpoint->info().grid;
  }
  return sources;
}

}  // namespace

std::string report_file_of(const std::string& run_dir) {
  return (fs::path(run_dir) / kReportFile).string();
}

RunRecord read_run(const std::string& run_dir) {
  RunSources sources = sources_of(run_dir);
  if (!is_there(run_dir)) {
    throw Error(Cause::io, run_dir, " is not there; name the folder that was a run's --run_dir");
  }
  if (!is_there(sources.metrics) && !is_there(sources.config)) {
    throw Error(Cause::data, run_dir,
                " has no metrics.jsonl and no config.txt, as micrec train leaves them; name "
                "the folder that was a run's --run_dir");
  }
  if (const std::optional<LockHolder> holder = lock_holder_of(run_dir)) {
    sources.holder = in_words(*holder);
  }
  return read_run_record(sources);
}

std::map<std::string, std::string> defaults_of(const std::vector<RunSetting>& settings) {
  std::map<std::string, std::string> defaults;
  for (const RunSetting& setting : settings) defaults[setting.name] = setting.otherwise;
  return defaults;
}

ReportAtEnd::~ReportAtEnd() {
  try {
    const RunRecord run = read_run_record(sources_of(run_dir_));
    write_whole_file(report_file_of(run_dir_),
                     report_page({run}, {.defaults = defaults_of(settings_)}));
  } catch (const std::exception& error) {
    LOG(WARNING) << "no " << kReportFile << " was written: " << error.what();
  }
}

}  // namespace micrec
