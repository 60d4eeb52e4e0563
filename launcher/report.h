#pragma once

#include <string>
#include <utility>

namespace micrec {

/// Writes report.html into a run's folder when it goes, however the run has ended by then. That it
/// cannot be written is told, and no more: the run is what counts. Rank 0 alone makes one.
class ReportAtEnd {
 public:
  explicit ReportAtEnd(std::string run_dir) : run_dir_(std::move(run_dir)) {}
  ~ReportAtEnd();
  ReportAtEnd(const ReportAtEnd&) = delete;
  ReportAtEnd& operator=(const ReportAtEnd&) = delete;

 private:
  std::string run_dir_;
};

}  // namespace micrec
