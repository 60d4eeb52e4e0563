#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "data/batches.h"
#include "launcher/flags.h"
#include "model/model_config.h"
#include "train/item_regression_search.h"
#include "train/run_planner.h"
#include "train/run_settings.h"
#include "train/trainer.h"

namespace micrec {

/// Everything that decides a run.
struct RunConfig {
  std::string dataset;
  std::string run_dir;
  bool resume = false;
  std::string init_from;  ///< folder of the run whose model it begins with; empty: from nothing
  bool dry_run = false;
  std::uint64_t seed = 0;
  GridWish sharing;              ///< partition, grid, reproducible
  bool grid_of_old_run = false;  ///< taken over by a resumed one, which may have other ranks
  ModelConfig model;             ///< as it was asked for, modalities may be "all"
  ItemRegressionWish item_regression;
  std::vector<double> regression_weight;  ///< (domains) or one for all; empty: chosen
  TrainingConfig training;
  SamplingConfig sampling;      ///< its threads are those of the rank, once that has joined
  std::vector<std::int64_t> k;  ///< cutoffs of the metrics, rising; kValidationCutoff among them
  JobOptions job;               ///< device, threads, deadlines, stop signals

  std::vector<RunSetting> settings;  ///< all of it as flags, with what a resume may change
  std::string flagfile;              ///< the same as text, for config.txt and checkpoints
};

inline constexpr std::int64_t kValidationCutoff = 20;  // early stopping looks at NDCG@20

/// The flags of `micrec train`, in the order of its help.
std::vector<FlagSpec> run_flags();

/// The configuration that train's flags say, before any rank is joined; a resumed run takes up what
/// its newest checkpoint has of flags that were not given, or its config.txt where it ended before
/// its first.
///
/// Errors   Error(usage) where something is missing or does not go together, where a new run would
///          begin over an old one, or a resumed one would change what it must keep;
///          Error(checkpoint) where there is nothing to resume.
RunConfig read_run_config(const Arguments& arguments);

}  // namespace micrec
