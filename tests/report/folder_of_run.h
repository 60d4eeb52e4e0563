#pragma once

#include <initializer_list>
#include <string>

#include "report/run_record.h"
#include "tests/support/temporary_folder.h"

namespace micrec {

/// A run's folder with the lines that a test gives it.
class FolderOfRun {
 public:
  explicit FolderOfRun(std::initializer_list<std::string> lines, const std::string& end = "") {
    std::string log;
    for (const std::string& line : lines) log += line + "\n";
    folder_.write("metrics.jsonl", log + end);
  }

  RunSources sources() const {
    RunSources sources;
    sources.run_dir = "runs/fk";
    sources.metrics = folder_ / "metrics.jsonl";
    sources.config = folder_ / "config.txt";
    return sources;
  }

  RunRecord read() const { return read_run_record(sources()); }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  TemporaryFolder folder_;
};

}  // namespace micrec
