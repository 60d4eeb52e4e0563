#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "cluster/job.h"
#include "data/dataset_file.h"
#include "evaluate/mix_choice.h"
#include "launcher/run_config.h"
#include "model/model.h"
#include "train/run_start.h"

namespace micrec {

/// Thrown on all ranks where a run was asked to stop while it fitted: nothing is saved yet.
struct StoppedWhileFitting {};

/// Whether a data set has validation interactions.
bool has_validation(const DatasetFile& dataset);

/// Validation of both terms: weighs them anew each time.
class Validation {
 public:
  Validation(const RunConfig& config, const DatasetFile& dataset, Model& model, Job& job);

  /// Weighs the terms on the validation split and returns NDCG@20, the mean over the domains.
  /// Shapes   z: (whole rows, dim). Ranks: collective.
  double operator()(const at::Tensor& z);
  /// Weighs them as it is documented where nothing can be validated. Ranks: collective.
  void weigh_without(const at::Tensor& z);

  /// Rates item coefficients by themselves; only where item regression is on. Refers to this.
  RateCoefficients rating() const;

  const Report& last() const { return last_; }
  /// The weights that the last one chose, a line a domain; none without item regression.
  const std::vector<std::string>& weights_in_words() const { return weights_in_words_; }
  /// Its JSON, with the weights that were tried.
  nlohmann::ordered_json last_json() const;

 private:
  Model& model_;
  std::vector<std::string> domains_;
  std::optional<Evaluator> product_alone_;  // where item regression is off
  std::optional<MixChooser> mix_;
  Report last_;
  std::vector<std::string> weights_in_words_;
  std::vector<std::vector<TriedMix>> tried_;  // [domain] of the last validation
};

/// Gives the model of a run its item coefficients: those that the run has, where it is resumed, or
/// fitted now and written into the run's folder. Returns what the checkpoints are to say of that
/// file; nothing where item regression is off. Tells what was chosen.
///
/// Ranks    collective.
/// Errors   StoppedWhileFitting; Error(checkpoint) where a resumed run's file is missing or damaged,
///          Error(io) where it cannot be written, Error(usage) where a setting fits neither one nor
///          all domains.
std::optional<StoredFile> provide_item_regression(const RunConfig& config,
                                                  const DatasetFile& dataset, Model& model,
                                                  const Validation& validation,
                                                  const RunStart& start, Job& job);

}  // namespace micrec
