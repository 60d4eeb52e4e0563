#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/flagfile.h"
#include "base/run_setting.h"
#include "checkpoints/format.h"

namespace micrec {

/// A setting that a resumed run has otherwise than its checkpoint.
struct ChangedSetting {
  std::string name;
  std::string before;
  std::string now;
};

// A run's settings are a flagfile, in its checkpoints and in RUN_DIR/config.txt. Lines before them
// that begin with kHistoryLine are the run's history: the settings that were changed on the way.

/// Settings of the saved flagfile that are kept and that this run has otherwise, as "--dim=64 (the
/// checkpoint has 32)". `origin`: of the flagfile, for messages.
/// Errors   those of parse_flagfile().
std::vector<std::string> different_settings(const std::vector<RunSetting>& now,
                                            const std::string& saved, const std::string& origin);

/// Settings that are recorded and that the saved flagfile has otherwise: what is computed from here
/// on is not what the saved run would have computed. Errors: those of parse_flagfile().
std::vector<ChangedSetting> changed_settings(const std::vector<RunSetting>& now,
                                             const std::string& saved, const std::string& origin);

/// The text of config.txt of a run that has no checkpoint: it ended before its first, and --resume
/// begins it again. Nothing where it has one, or has no config.txt.
/// Errors   Error(checkpoint) where metrics.jsonl tells of a checkpoint that is no longer there:
///          what was trained once is not trained anew unasked. Error(io) where a file cannot be
///          read.
std::optional<std::string> settings_before_first_checkpoint(const std::string& run_dir);

/// A flagfile, and where it is, for messages.
struct SavedSettings {
  std::string flagfile;
  std::string origin;
};

/// Those of the run to resume: of its config.txt, or where that is gone of its newest checkpoint.
/// Errors   those of settings_before_first_checkpoint() and open_newest_valid().
SavedSettings settings_to_resume(const std::string& run_dir);

/// The lines of a flagfile that are history.
std::string history_of(const std::string& flagfile);
std::string history_line(std::int64_t step, const ChangedSetting& change);

}  // namespace micrec
