#include "launcher/report.h"

#include <glog/logging.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/run_lock.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/run_flags.h"
#include "report/html_page.h"
#include "report/paired_runs.h"
#include "report/run_record.h"
#include "train/metrics_log.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr int kMostRuns = 16;
constexpr std::int64_t kMostComparisonBytes = std::int64_t{64} << 20;

std::string report_of(const std::string& run_dir) {
  return (fs::path(run_dir) / kReportFile).string();
}

/// Where a run's folder says what.
RunSources sources_of(const std::string& run_dir) {
  RunSources sources;
  sources.run_dir = run_dir;
  sources.metrics = MetricsLog::path_in(run_dir);
  sources.config = (fs::path(run_dir) / "config.txt").string();
  if (const std::string fitted = coefficient_file_of(run_dir); is_there(fitted)) {
    sources.item_regression = look_at_coefficients(fitted).origin.settings;
  }
  // What is damaged is left out; micrec verify and micrec inspect tell of it.
  Failure why;
  const std::optional<std::string> newest = newest_checkpoint(checkpoints_of(run_dir));
  if (!newest) return sources;
  if (const auto checkpoint = Checkpoint::try_open(*newest, Verify::sizes, why)) {
    sources.dataset = checkpoint->info().dataset_path;
    sources.fingerprint = checkpoint->info().dataset_fingerprint;
    sources.grid = checkpoint->info().grid;
  }
  return sources;
}

/// A run, read. Errors: Error(data) where the folder has none, Error(io) where there is no folder.
RunRecord read_run(const std::string& run_dir) {
  RunSources sources = sources_of(run_dir);
  if (!is_there(run_dir)) {
    throw Error(Cause::io,
                text(run_dir, " is not there; name the folder that was a run's --run_dir"));
  }
  if (!is_there(sources.metrics) && !is_there(sources.config)) {
    throw Error(Cause::data,
                text(run_dir,
                     " has no metrics.jsonl and no config.txt, as micrec train leaves them; name "
                     "the folder that was a run's --run_dir"));
  }
  if (const std::optional<LockHolder> holder = lock_holder_of(run_dir)) {
    sources.holder = in_words(*holder);
  }
  return read_run_record(sources);
}

std::map<std::string, std::string> defaults_of_train() {
  RunConfig config;
  std::map<std::string, std::string> defaults;
  for (const Flag& flag : run_flags(config)) defaults[flag.name] = flag.value.default_text();
  return defaults;
}

struct PageWish {
  std::string against;
  std::string comparison;
  std::string out;
};

int run_report(const PageWish& wish, const Arguments& arguments) {
  std::vector<std::string> folders = arguments.plain;
  const std::string out = wish.out.empty() ? report_of(folders.front()) : wish.out;
  if (wish.out.empty() && folders.size() > 1) {
    throw Error(Cause::usage, text("a report of ", folders.size(),
                                   " runs belongs to none of their folders; name its "
                                   "file, as in --out=",
                                   kReportFile));
  }
  if (!wish.against.empty()) folders.push_back(wish.against);
  std::vector<std::string> inputs;
  for (const std::string& folder : folders) {
    std::ranges::copy(files_of_run(folder), std::back_inserter(inputs));
  }
  if (!wish.comparison.empty()) inputs.push_back(wish.comparison);
  check_output("--out", out, arguments, inputs);
  std::vector<RunRecord> runs;
  for (const std::string& folder : folders) runs.push_back(read_run(folder));
  ReportOptions options = {.defaults = defaults_of_train(), .has_baseline = !wish.against.empty()};
  if (!wish.comparison.empty()) {
    refuse_unreadable(wish.comparison);
    options.paired =
        read_comparison(read_small_file(wish.comparison, kMostComparisonBytes), wish.comparison);
  }
  write_whole_file(out, report_page(runs, options));
  std::cerr << "wrote " << out << "\n";
  return 0;
}

}  // namespace

ReportAtEnd::~ReportAtEnd() {
  try {
    const RunRecord run = read_run_record(sources_of(run_dir_));
    write_whole_file(report_of(run_dir_), report_page({run}, {.defaults = defaults_of_train()}));
  } catch (const std::exception& error) {
    LOG(WARNING) << "no " << kReportFile << " was written: " << error.what();
  }
}

Command report_command() {
  Command command;
  command.name = "report";
  command.summary = "show what runs did as one page: curves, slices, time, settings";
  command.usage = "micrec report RUN_DIR [RUN_DIR ...] [flags]";
  command.example = "micrec report runs/fk --against=runs/mf --out=fk.html";
  command.min_arguments = 1;
  command.max_arguments = kMostRuns;
  command.arguments = "folders of runs, ended or not";
  const auto wish = std::make_shared<PageWish>();
  command.flags = {
      {"against", "Files", "FOLDER", "a run that the others are held against", wish->against},
      {"comparison", "Files", "FILE",
       "what micrec compare --json wrote: differences of the same users, with intervals",
       wish->comparison},
      out_flag(wish->out, "the page; of one run report.html in its folder where it is not given",
               false)};
  command.run = [wish](const Arguments& arguments) { return run_report(*wish, arguments); };
  return command;
}

}  // namespace micrec
