#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/flagfile.h"
#include "checkpoints/checkpoint.h"
#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "model/model.h"
#include "train/item_regression_search.h"

namespace micrec {

/// Thrown on all ranks where a run was asked to stop while it fitted: nothing is saved yet.
struct StoppedWhileFitting {};

/// The file of item regression has at most so many bytes.
double most_coefficient_bytes(std::int64_t items);

/// What a run's item coefficients are fitted by.
struct ItemRegressionRun {
  std::string run_dir;
  std::optional<StoredFile> of_checkpoint;  ///< the file that the checkpoint of a resumed run names
  bool resume = false;
  std::vector<std::string> modalities;
  std::uint64_t seed = 0;
  NeighbourSearch neighbor_search = NeighbourSearch::automatic;
  ItemRegressionWish wish;
  RateCoefficients rate;                ///< empty where there is no validation
  std::function<bool()> agree_to_stop;  ///< collective
  std::function<void()> begins;  ///< called before a fit, not where there was one; collective
  /// Told of a fit: how long it took, and what this rank sent for it, without the ratings by which
  /// settings are chosen. Collective.
  std::function<void(double seconds, const LedgerEntries& sent)> fitted;
};

/// Gives the model of a run its item coefficients: those that the run has, where it is resumed, or
/// fitted now and written into the run's folder. Returns what the checkpoints are to say of that
/// file; nothing where item regression is off. Tells on `log` what was chosen.
///
/// Ranks    collective.
/// Errors   StoppedWhileFitting; Error(checkpoint) where a resumed run's file is missing or
///          damaged, Error(io) where it cannot be written, Error(usage) where a setting fits
///          neither one nor all domains.
std::optional<StoredFile> provide_item_regression(const ItemRegressionRun& run,
                                                  const DatasetFile& dataset, Model& model,
                                                  std::ostream& log);

/// The half-lives that a run's file of coefficients names, one a domain; kNoRecency where it names
/// none. Ranks: local. Errors: those of look_at_coefficients() and chosen_half_life().
std::vector<double> half_life_of(const std::string& path, const DatasetFile& dataset);

/// The settings that the run of a checkpoint has chosen, as flags of train; those that cannot be
/// written as one are left out. None where it has no item regression.
/// Errors   those of look_at_coefficients().
std::vector<FlagSetting> chosen_item_regression(const Checkpoint& checkpoint);

}  // namespace micrec
