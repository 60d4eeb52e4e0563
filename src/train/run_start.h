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
#include "train/training_state.h"

namespace micrec {

/// What a run goes on from; a new one from nothing.
struct RunStart {
  TrainingState state;
  std::string checkpoint;               ///< name; empty in a new run
  std::string history;                  ///< lines of its flagfile, with the changes of this resume
  std::vector<ChangedSetting> changes;  ///< of recorded settings
  std::optional<StoredFile> item_regression;  ///< as the checkpoint names it
};

/// The checkpoint of a run that another begins from: its best, or where none was validated its
/// newest.
/// Errors   Error(Cause::checkpoint) where there is none, or best.json is damaged.
std::string checkpoint_to_begin_from(const std::string& run_dir);

/// Gives the model the values that another run has come to, on a data set that holds more: rows and
/// moments of nodes that it knew are its own, matched by what the data set says that it extends or
/// else by key; new ones begin with what the model infers for them. Tells on `log` of how many.
///
/// Ranks    collective.
/// Errors   Error(Cause::checkpoint) on all ranks where there is none, or where it does not fit the
///          model; Error(Cause::data|io) where nodes must be matched by key and the data set that
///          it was trained on cannot be read or has other domains.
RunStart begin_from(const std::string& run_dir, const DatasetFile& dataset, Model& model,
                    Optimizer& optimizer, std::ostream& log);

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
