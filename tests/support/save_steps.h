#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "checkpoints/store.h"

namespace micrec {

inline constexpr std::array<const char*, 8> kSaveStepNames = {
    "begun",   "shard_written", "shard_synced", "manifest_written",
    "renamed", "parent_synced", "best_named",   "old_removed"};

inline const char* name_of(SaveStep step) { return kSaveStepNames[static_cast<std::size_t>(step)]; }

inline std::optional<SaveStep> parse_save_step(const std::string& name) {
  const auto found = std::find(kSaveStepNames.begin(), kSaveStepNames.end(), name);
  if (found == kSaveStepNames.end()) return std::nullopt;
  return static_cast<SaveStep>(found - kSaveStepNames.begin());
}

}  // namespace micrec
