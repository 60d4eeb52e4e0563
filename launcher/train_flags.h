#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "data/batches.h"
#include "launcher/flags.h"
#include "model/model_config.h"
#include "train/item_regression_search.h"
#include "train/trainer.h"

namespace micrec {

/// The flags of `micrec train` that decide what the model computes; every command that reads a run
/// takes them from its checkpoint.
std::vector<FlagSpec> model_flags();

/// Who works on what, of train and of plan.
FlagSpec partition_flag();

/// The flags that decide how it is trained.
std::vector<FlagSpec> training_flags();

/// Lets --model and --item_regression say the same, where one of them was not given: a baseline is
/// what its paper says, and item regression alone is a model. Errors: Error(usage) where they do
/// not go together.
void complete_item_regression(const Arguments& arguments);

/// The configurations that the flags say now. Errors: Error(usage) on values that do not go
/// together.
ModelConfig model_config_from_flags();
ItemRegressionWish item_regression_from_flags();
std::vector<double> regression_weight_from_flags();  ///< empty: chosen
TrainingConfig training_config_from_flags();
/// --epochs where it is not given: of the kinds that are solved a few, else `otherwise`.
std::int64_t default_epochs(std::int64_t otherwise);
SamplingConfig sampling_config_from_flags(std::uint64_t seed);
/// How the processes of a command join: --threads, --device, --deadline and the like.
JobOptions job_options_from_flags(const std::string& command);

}  // namespace micrec
