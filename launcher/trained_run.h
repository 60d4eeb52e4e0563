#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "command_line/flags.h"
#include "serve/trained_run.h"

namespace micrec {

/// Errors   Error(usage) where `command` was started as several processes.
void require_one_process(const std::string& command, const Job& job);

/// The flags of a command that reads a run: which one, its own, and how it runs.
std::vector<Flag> trained_run_flags(TrainedRunOptions& run, const std::vector<Flag>& own,
                                    JobOptions& job);

/// The files that they name, but for the data set: no output may replace one.
std::vector<std::string> inputs_of_run(const TrainedRunOptions& run);

/// Refuses --out where it is a file of the run. Errors: those of check_output().
void check_output_of_run(const TrainedRunOptions& run, const Arguments& arguments);

/// The domain that --domain names, or all. Errors: those of DatasetFile::domain_number().
std::vector<int> domains_named(const std::string& domain, const DatasetFile& dataset);

/// open_trained_run on the ranks of a job, where nothing else reads its settings as the
/// flags of train do.
std::unique_ptr<TrainedRun> open_trained_run(TrainedRunOptions options, Job& job);

}  // namespace micrec
