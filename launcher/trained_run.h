#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "checkpoints/checkpoint.h"
#include "cluster/job.h"
#include "data/dataset_file.h"
#include "model/model.h"
#include "model/shard.h"

namespace micrec {

/// Joins the run that this process was started for, as --threads and --device say, and returns the
/// exit code of `body` or of its failure; see run_job. `command` names the command in messages.
/// Ranks: collective.
int run_ranks_of(const std::string& command, const std::function<int(Job&)>& body);

/// A trained model, read back from a run for evaluation, export or serving. Not movable: its parts
/// refer to each other.
struct TrainedRun {
  std::string checkpoint;  ///< name, "step-000000001200"
  CheckpointInfo info;
  DatasetFile dataset;
  DatasetSummary summary;
  Shard shard;
  std::unique_ptr<Model> model;
  std::int64_t epoch = 0;  ///< whose annealing inference uses
};

struct TrainedRunOptions {
  std::string run_dir;
  std::string
      checkpoint;  ///< "best" (the newest where none was validated), "newest", or the name of one
  std::string dataset;  ///< where the data set is now; empty: where it was in training
  std::string out;      ///< the command's output, which must not be the data set; or empty
  std::optional<ModelConfig> model = {};  ///< the run's; without it the checkpoint's flags say it
  Observed observed = Observed::all;
};

/// Opens a run's dataset and checkpoint and rebuilds its model on this job's ranks, however many
/// they are.
///
/// Ranks    collective.
/// Errors   Error(usage) where no run is named, Error(checkpoint) where there is no checkpoint or
/// it is damaged or of another
///          data set, Error(io|data) where the data set cannot be read.
std::unique_ptr<TrainedRun> open_trained_run(const TrainedRunOptions& options, Job& job);

/// Path of the checkpoint that `which` means; see TrainedRunOptions.
std::string checkpoint_path(const std::string& run_dir, const std::string& which);

/// The dataset's modalities, where the flag says "all". Errors: those of modality_width().
std::vector<std::string> resolve_modalities(const std::vector<std::string>& asked,
                                            const DatasetFile& dataset);

}  // namespace micrec
