#pragma once

#include <cstdint>

#include "base/kernel_inline.h"

namespace micrec {

/// Takes note of a step's loss, beside the parameters.
struct KeepLossCall {
  const double* values;  // (parts) of the loss
  std::int64_t parts;
  double step;
  /// (parts + 2): the parts of the latest loss, its step, and 1. Once their sum is no finite number
  /// they stay as they are, and the last is 0.
  double* kept;
};

MICREC_KERNEL_INLINE void keep_loss(const KeepLossCall& call) {
  double* const kept = call.kept;
  if (kept[call.parts + 1] == 0) return;
  double total = 0;
  for (std::int64_t part = 0; part < call.parts; ++part) {
    kept[part] = call.values[part];
    total += call.values[part];
  }
  kept[call.parts] = call.step;
  kept[call.parts + 1] = total - total == 0 ? 1 : 0;
}

}  // namespace micrec
