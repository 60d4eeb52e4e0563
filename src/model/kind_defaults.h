#pragma once

#include <cstdint>
#include <optional>

#include "model/model_config.h"

namespace micrec {

/// Lets kind and item regression say the same, where one of them was not asked for: a baseline is what
/// its paper says, and item regression alone is a model. Errors: Error(Cause::usage) where they do
/// not go together.
void agree_on_item_regression(ModelConfig& model, bool is_kind_given, bool is_use_given);

/// Epochs after which a kind that is solved has come to its end; nothing of the others.
std::optional<std::int64_t> epochs_of_solved(ModelKind kind);

}  // namespace micrec
