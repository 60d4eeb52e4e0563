#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/run_setting.h"
#include "cluster/job.h"
#include "data/batches.h"
#include "model/model_config.h"
#include "train/item_regression_search.h"
#include "train/plan/run_planner.h"
#include "train/trainer.h"

namespace micrec {

/// Everything that decides a run. What a field is here is the default of its flag;
/// launcher/run_flags.cpp has them all.
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
  /// Its learning rate is 0 where that is as the batch has it, see learning_rate_of(); it has no
  /// time limit yet.
  TrainingConfig training = {.learning_rate = 0};
  std::int64_t validate_users = 0;  ///< of a domain, in validations while it trains; 0: all
  std::int64_t test_users = 0;      ///< of a domain, of the result once it is trained; 0: all
  double time_limit_minutes = 0;    ///< of this process; 0: none
  SamplingConfig sampling;          ///< with the seed once the task is there
  std::vector<std::int64_t> k = {10, 20, 50};  ///< cutoffs of the metrics; once read, they rise and
                                               ///< kValidationCutoff is among them
  std::string stop_signals = "TERM,INT,USR1,USR2";
  JobOptions job = job_of("train");  ///< device, deadlines, stop signals

  std::vector<RunSetting> settings;  ///< all of it as flags, with what a resume may change
  std::string flagfile;              ///< the same as text, for config.txt and checkpoints
  std::vector<std::string> idle;     ///< sentences on flags that were given and have no effect
  /// Of the program that runs it and of its libraries, by name.
  std::vector<std::pair<std::string, std::string>> versions;
};

}  // namespace micrec
