#pragma once

#include "cluster/job.h"
#include "run/run_config.h"

namespace micrec {

/// Trains a model, or goes on training it: the whole of `micrec train` but its flags. The ranks of
/// the job may be threads of one process.
///
/// Ranks    collective.
/// Errors   as exit codes tell them: Error(data|io) of the dataset and the run folder, Error(usage)
///          of a configuration that fits neither, Error(checkpoint) of a run that cannot be
///          resumed, Error(diverged).
/// Returns  0, or kExitStopped where it was asked to stop.
int train(const RunConfig& config, Job& job);

}  // namespace micrec
