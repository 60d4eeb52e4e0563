#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "checkpoints/store.h"
#include "data/dataset_file.h"
#include "model/model.h"
#include "train/optimizer.h"
#include "train/run_settings.h"
#include "train/trainer.h"

namespace micrec {

/// What a run goes on from; a new one from nothing.
struct RunStart {
  TrainingState state;
  std::string checkpoint;               ///< name; empty in a new run
  std::string history;                  ///< lines of its flagfile, with the changes of this resume
  std::vector<ChangedSetting> changes;  ///< of recorded settings
  std::optional<StoredFile> item_regression;  ///< as the checkpoint names it
};

/// Gives the model its first values. Ranks: collective.
RunStart begin(Model& model);

/// Fills the model and its moments from the newest checkpoint that is whole and of this run, and
/// tells on `log` from which.
///
/// Ranks    collective.
/// Errors   Error(Cause::checkpoint) on all ranks where there is none, or where it is of a run with
///          other settings or of another data set.
RunStart resume(const std::vector<RunSetting>& settings, const DatasetFile& dataset,
                const CheckpointStore& checkpoints, Model& model, Optimizer& optimizer,
                std::ostream& log);

}  // namespace micrec
