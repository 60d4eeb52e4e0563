#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "launcher/flags.h"
#include "serve/trained_run.h"

namespace micrec {

/// Joins the run that this process was started for, as --threads and --device say, and returns the
/// exit code of `body` or of its failure; see run_job. `command` names the command in messages.
/// Ranks: collective.
int run_ranks_of(const std::string& command, const std::function<int(Job&)>& body);

/// The flags of a command that reads a run: which one, its own, and how it runs.
std::vector<FlagSpec> trained_run_flags(const std::vector<FlagSpec>& own);

/// The files that they name, which no output may replace, but for the data set.
std::vector<std::string> inputs_of_run();

/// What they say, after --out has been compared with the files of the run. Errors: those of
/// check_output.
TrainedRunOptions trained_run_from_flags(const Arguments& arguments);

/// open_trained_run on the ranks of a job, where the flags of the model are set as the run had them.
std::unique_ptr<TrainedRun> open_trained_run(TrainedRunOptions options, Job& job);

}  // namespace micrec
