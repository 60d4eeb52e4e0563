#pragma once

#include <functional>
#include <string>
#include <vector>

#include "command_line/flags.h"
#include "run/run_config.h"

namespace micrec {

// The table of what decides a run: a row a flag, which sets a field of the configuration. Help, man
// page, completions, config.txt and what a resumed run keeps follow from it.

/// What the model computes; a command that reads a run takes these from its checkpoint.
std::vector<Flag> model_flags(RunConfig& config);

/// How it is trained.
std::vector<Flag> training_flags(RunConfig& config);

/// Who works on what, of train and of plan.
Flag partition_flag(GridWish& sharing);
/// `check`: of a value, where it is checked before the command runs.
Flag grid_flag(GridWish& sharing, std::function<std::string(const std::string&)> check = nullptr);

/// All flags of `micrec train`, in the order of its help. The configuration outlives them.
std::vector<Flag> run_flags(RunConfig& config);

}  // namespace micrec
