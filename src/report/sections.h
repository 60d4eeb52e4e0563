#pragma once

#include <map>
#include <string>
#include <vector>

#include "report/paired_runs.h"
#include "report/run_record.h"
#include "report/svg_chart.h"

namespace micrec {

/// A run as one of those that a page tells of.
struct ReportedRun {
  const RunRecord& record;
  ChartRun chart;
  bool is_baseline = false;
};
using ReportedRuns = std::vector<ReportedRun>;

// The parts of a report, as HTML; empty where no run says anything of it.

/// Validation, loss and its parts, learning rate and speed against steps.
std::string curves_section(const ReportedRuns& runs);
/// The test by domain: all users, kinds of items and people, and a table of all slices.
std::string quality_section(const ReportedRuns& runs);
/// Differences of runs whose users were paired.
std::string paired_section(const std::vector<PairedRun>& paired, const ReportedRuns& runs);
/// What item regression was tried with, and what was chosen.
std::string regression_section(const ReportedRuns& runs);
/// What travelled between the ranks beside what had to.
std::string sent_section(const ReportedRuns& runs);
/// Seconds and memory of what the run did, and its checkpoints.
std::string time_section(const ReportedRuns& runs);
/// Flags that differ from their defaults, and what a resume changed.
std::string settings_section(const ReportedRuns& runs,
                             const std::map<std::string, std::string>& defaults);
/// What the runs were trained on and with.
std::string data_section(const ReportedRuns& runs);

// What several of them need.

/// The colours of the runs, by name; empty where there is one run.
std::string legend_of(const ReportedRuns& runs);
/// The degrees of a slice of items, "4–7"; empty where it is another slice.
std::string degree_of(const std::string& slice);
/// The name of a run's folder without slashes at its end.
std::string without_slash(std::string run_dir);
/// A section with its heading and an anchor; empty where nothing follows the introduction.
std::string section_of(const std::string& anchor, const std::string& heading,
                       const std::string& introduction, const std::string& contents);
/// The name of a run as a heading where there are several.
std::string heading_of(const ReportedRun& run, const ReportedRuns& runs);
/// What is told of each run, with its heading; empty where nothing is of any.
std::string by_run(const ReportedRuns& runs, std::string (*told_of)(const RunRecord&));
/// Adds a name where it is not among them.
void add_once(std::vector<std::string>& names, const std::string& name);

/// What is collapsed until it is asked for.
std::string details_of(const std::string& summary, const std::string& contents);

}  // namespace micrec
