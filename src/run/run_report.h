#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/run_setting.h"
#include "report/run_record.h"

namespace micrec {

/// Path of the report in a run's folder, there or not.
std::string report_file_of(const std::string& run_dir);

/// What a run's folder tells of it, for a report. Errors: Error(data) where the folder has no run,
/// Error(io) where there is no folder.
RunRecord read_run(const std::string& run_dir);

/// What the settings are where they are not given, by name.
std::map<std::string, std::string> defaults_of(const std::vector<RunSetting>& settings);

/// Writes report.html into a run's folder when it goes, however the run has ended by then. That it
/// cannot be written is told, and no more: the run is what counts. Rank 0 alone makes one.
class ReportAtEnd {
 public:
  ReportAtEnd(std::string run_dir, std::vector<RunSetting> settings)
      : run_dir_(std::move(run_dir)), settings_(std::move(settings)) {}
  ~ReportAtEnd();
  ReportAtEnd(const ReportAtEnd&) = delete;
  ReportAtEnd& operator=(const ReportAtEnd&) = delete;

 private:
  std::string run_dir_;
  std::vector<RunSetting> settings_;
};

}  // namespace micrec
