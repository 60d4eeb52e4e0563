#pragma once

#include <map>
#include <string>
#include <vector>

#include "report/paired_runs.h"
#include "report/run_record.h"

namespace micrec {

inline constexpr char kReportFile[] = "report.html";  // in the folder of a run

struct ReportOptions {
  std::map<std::string, std::string> defaults = {};  ///< of the flags of train, by name
  bool has_baseline = false;           ///< the last run is what the others are held against
  std::vector<PairedRun> paired = {};  ///< what micrec compare found, where it was asked
};

/// Everything that is known of the runs as one HTML page that needs nothing else: no network, no
/// script, light and dark. A part of which the runs say nothing is left out.
///
/// Errors   CHECK: at least one run.
/// Cost     Curves are drawn with at most 500 points each, however long the run.
std::string report_page(const std::vector<RunRecord>& runs, const ReportOptions& options);

}  // namespace micrec
