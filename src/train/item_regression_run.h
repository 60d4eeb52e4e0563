#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/flagfile.h"
#include "checkpoints/checkpoint.h"
#include "model/model.h"
#include "train/item_regression_search.h"
#include "train/log/traffic.h"
#include "train/training_task.h"

namespace micrec {

/// The file of item regression has at most so many bytes.
double most_coefficient_bytes(std::int64_t items);

/// Where the item coefficients of a run may be already, and what they are fitted by.
struct ItemRegressionRun {
  std::string run_dir;
  bool resume = false;
  std::optional<StoredFile> of_checkpoint;  ///< the file that the checkpoint of a resumed run names
  RateCoefficients rate;                    ///< empty where there is no validation
  std::function<bool()> agree_to_stop;      ///< collective
  std::optional<Adjacency> graph;           ///< for the plan of a fit, as RunPlan has it
};

/// What became of item regression in a run.
struct ProvidedItemRegression {
  std::optional<StoredFile> file;       ///< as checkpoints are to name it; none where it is off
  std::optional<FittedRegression> fit;  ///< where it was fitted now, on all ranks
};

/// Gives the model of a run its item coefficients: those that the run has, where it is resumed, or
/// fitted now and written into the run's folder. Tells on `log` what was chosen.
///
/// Ranks    collective.
/// Errors   Stopped; Error(checkpoint) where a resumed run's file is missing or
///          damaged, Error(io) where it cannot be written, Error(usage) where a setting fits
///          neither one nor all domains.
ProvidedItemRegression provide_item_regression(ItemRegressionRun run, const TrainingTask& task,
                                               Model& model, std::ostream& log);

/// The half-lives that a run's file of coefficients names, one a domain; kNoRecency where it names
/// none. Ranks: local. Errors: those of look_at_coefficients() and chosen_half_life().
std::vector<double> half_life_of(const std::string& path, const DatasetFile& dataset);

/// The settings that the run of a checkpoint has chosen, as flags of train; those that cannot be
/// written as one are left out. None where it has no item regression.
/// Errors   those of look_at_coefficients().
std::vector<FlagSetting> chosen_item_regression(const Checkpoint& checkpoint);

}  // namespace micrec
