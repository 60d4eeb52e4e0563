#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/run_setting.h"
#include "command_line/command.h"
#include "data/batches.h"
#include "launcher/common_flags.h"
#include "model/model_config.h"
#include "train/item_regression_search.h"
#include "train/run_planner.h"
#include "train/trainer.h"

namespace micrec {

/// Everything that decides a run. What a field is here is the default of its flag; run_flags.cpp
/// has them all.
struct RunConfig {
  std::string dataset;
  std::string run_dir;
  bool resume = false;
  std::string init_from;  ///< folder of the run whose model it begins with; empty: from nothing
  bool dry_run = false;
  std::uint64_t seed = 0;
  GridWish sharing;              ///< partition, grid, reproducible
  bool grid_of_old_run = false;  ///< taken over by a resumed one, which may have other ranks
  /// As it was asked for, modalities may be "all".
  ModelConfig model = {.modalities = {"all"}, .item_regression = ItemRegressionUse::automatic};
  ItemRegressionWish item_regression;
  std::vector<double> regression_weight;  ///< (domains) or one for all; empty: chosen
  TrainingConfig training;
  std::int64_t validate_users = 0;  ///< of a domain, in validations while it trains; 0: all
  double time_limit_minutes = 0;    ///< of the training, which has it in seconds
  SamplingConfig sampling;          ///< its threads are those of the rank, once that has joined
  std::vector<std::int64_t> k = {10, 20, 50};  ///< cutoffs of the metrics; once read, they rise and
                                               ///< kValidationCutoff is among them
  std::string stop_signals = "TERM,INT,USR1,USR2";
  JobOptions job = job_of("train");  ///< device, threads, deadlines, stop signals

  std::vector<RunSetting> settings;  ///< all of it as flags, with what a resume may change
  std::string flagfile;              ///< the same as text, for config.txt and checkpoints
  std::vector<std::string> idle;     ///< sentences on flags that were given and have no effect
};

/// Lets --model and --item_regression say the same, where one of them was not given: a baseline is
/// what its paper says, and item regression alone is a model. Errors: Error(usage) where they do
/// not go together.
void complete_item_regression(ModelConfig& model, const Arguments& arguments);

/// Completes the configuration that the flags of `train` have set, before any rank is joined; a
/// resumed run takes up what its newest checkpoint has of flags that were not given, or its
/// config.txt where it ended before its first.
///
/// `train`: a command whose flags set `config`.
/// Errors   Error(usage) where something is missing or does not go together, where a new run would
///          begin over an old one, or a resumed one would change what it must keep;
///          Error(checkpoint) where there is nothing to resume.
void complete(RunConfig& config, const Command& train, const Arguments& arguments);

/// The configuration that the words after `micrec train` say. Errors: those of parse_flags() and of
/// complete().
RunConfig read_run_config(const std::vector<std::string>& words);

}  // namespace micrec
