#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace micrec {

/// What came of comparing a file of a checkpoint with its manifest.
struct VerifiedFile {
  std::string file;
  std::int64_t bytes = 0;  // that it should have
  std::string damage;      // what is wrong, and in which dataset; empty: nothing
  bool refused = false;    // the system does not let read it: `damage` says why
};

struct VerifiedCheckpoint {
  std::string path;
  std::vector<VerifiedFile> files;            // manifest.json first; alone where it cannot be read
  std::optional<StoredFile> item_regression;  // as the manifest names it; not compared yet

  bool whole() const;
};

/// Reads every byte of a checkpoint and compares it with the manifest, all files, whatever is wrong
/// with some. What the system cannot read is damage as well. Ranks: local.
VerifiedCheckpoint verify_checkpoint(const std::string& path);

/// What came of verifying one checkpoint, or all of a run, its best.json and its semantic
/// neighbours, and the file of coefficients that they name.
struct VerifiedRun {
  std::string path;  // of what was verified
  std::vector<VerifiedCheckpoint> checkpoints;
  std::optional<VerifiedFile> best;  // its path; nothing where there is none, or one checkpoint
  std::string best_without_file;     // name of the best checkpoint where best.json is missing
  /// Its path, compared once with each manifest that names another; nothing where none names it.
  std::optional<VerifiedFile> item_regression;
  std::vector<VerifiedFile> semantic_neighbours;  // their paths; none where one checkpoint is

  std::int64_t files = 0;
  std::int64_t damaged = 0;  // of them, that were read and are not what was written
  std::string unreadable;    // why the system does not let read the first such file, or empty

  bool whole() const { return damaged == 0 && unreadable.empty(); }
  /// {"path", "whole", "checkpoints": [{"path", "whole", "files": [{"file", "bytes", "whole",
  ///  "damage"}]}], "item_regression", "semantic_neighbours", "best"}
  nlohmann::ordered_json to_json() const;
};

/// Verifies what lies at `path`: a run's folder, its folder of checkpoints, or one checkpoint.
/// `tell` is called with each file of a checkpoint once that is verified, then with the files of
/// coefficients and of neighbours, and with best.json at last.
///
/// Ranks    local.
/// Errors   Error(Cause::io) where it is no folder, Error(Cause::checkpoint) where it holds none.
VerifiedRun verify_run(
    const std::string& path,
    const std::function<void(const std::string& path, const VerifiedFile& file)>& tell);

/// The sentence of what is wrong, and what to do; nothing where all is whole.
/// Errors   Error(Cause::checkpoint) where files are damaged, Error(Cause::io) where one cannot be
///          read.
void refuse_damage(const VerifiedRun& run);

}  // namespace micrec
