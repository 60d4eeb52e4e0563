#include <algorithm>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/run_flags.h"
#include "report/html_page.h"
#include "report/paired_runs.h"
#include "run/run_report.h"

namespace micrec {
namespace {

constexpr int kMostRuns = 16;
constexpr std::int64_t kMostComparisonBytes = std::int64_t{64} << 20;

std::map<std::string, std::string> defaults_of_train() {
  RunConfig config;
  Command train;
  train.flags = run_flags(config);
  return defaults_of(settings_of(train));
}

struct PageWish {
  std::string against;
  std::string comparison;
  std::string out;
};

int run_report(const PageWish& wish, const Arguments& arguments) {
  std::vector<std::string> folders = arguments.plain;
  const std::string out = wish.out.empty() ? report_file_of(folders.front()) : wish.out;
  if (wish.out.empty() && folders.size() > 1) {
    throw Error(Cause::usage, "a report of ", folders.size(),
                " runs belongs to none of their folders; name its "
                "file, as in --out=",
                kReportFile);
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
