#pragma once

#include <cstdint>
#include <optional>

#include "command_line/command.h"
#include "model/model_config.h"
#include "run/run_config.h"

namespace micrec {

/// Lets --model and --item_regression say the same, where one of them was not given: a baseline is
/// what its paper says, and item regression alone is a model. Errors: Error(usage) where they do
/// not go together.
void complete_item_regression(ModelConfig& model, const Arguments& arguments);

/// Epochs after which a kind that is solved has come to its end; nothing of the others.
std::optional<std::int64_t> epochs_of_solved(ModelKind kind);

/// Completes the configuration that the flags of `train` have set, before any rank is joined; a
/// resumed run takes up what its config.txt has of flags that were not given, or where that is gone
/// its newest checkpoint.
///
/// `train`: a command whose flags set `config`.
/// Errors   Error(usage) where something is missing or does not go together, where a new run would
///          begin over an old one, or a resumed one would change what it must keep;
///          Error(checkpoint) where there is nothing to resume.
void complete(RunConfig& config, const Command& train, const Arguments& arguments);

}  // namespace micrec
