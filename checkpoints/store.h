#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "checkpoints/checkpoint.h"
#include "cluster/communicator.h"

namespace micrec {

struct SaveOptions {
  bool is_best = false;  ///< the best so far by the validation metric
  int keep_last =
      3;  ///< checkpoints kept, the new one counted; the best is kept besides; at least 1
};

/// The checkpoints of one run: a directory that one run at a time writes to.
///
/// A checkpoint is complete or has no name (checkpoints/format.h): it is written beside,
/// synchronized with the disk file by file, and published by one rename. At no instant are there
/// fewer complete checkpoints than before.
class CheckpointStore {
 public:
  /// Creates the directory (RUN_DIR/checkpoints) where it is missing. The communicator carries host
  /// tensors and outlives this.
  ///
  /// Ranks    collective.
  /// Errors   Error(Cause::io) on all ranks where it cannot be created.
  CheckpointStore(std::string directory, Communicator& communicator);

  /// Writes and publishes a checkpoint, then removes the ones no longer kept. A checkpoint of the
  /// same step is replaced; those of later steps, which an earlier attempt has left, are removed:
  /// this run is the run's future now. Returns the name published, "step-000000001200".
  ///
  /// Shapes   owned: global rows of this rank, strictly rising; tensors as in CheckpointTensor, the
  /// same names in the
  ///          same order on all ranks.
  /// Ranks    collective.
  /// Errors   Error(Cause::io) on all ranks when any rank cannot write: nothing is published, what
  /// was written is
  ///          removed, all older checkpoints stay. CHECK on shapes and names.
  /// Cost     Each byte is written once and read once for its checksum; one chunk of 16 MiB beyond
  /// the tensors.
  std::string save(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                   const std::vector<CheckpointTensor>& tensors, const SaveOptions& options = {});

  /// Path of the checkpoint with the most steps, and of the one that was the best; nothing where
  /// there is none. Ranks: collective (rank 0 looks, so that all ranks agree).
  std::optional<std::string> newest() const;
  std::optional<std::string> best() const;

  const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  Communicator& communicator_;
};

/// What a directory of checkpoints holds, for programs that only read. Ranks: local.
std::vector<std::string> list_checkpoints(const std::string& directory);  ///< names, by rising step
std::optional<std::string> newest_checkpoint(const std::string& directory);  ///< path
std::optional<std::string> best_checkpoint(const std::string& directory);    ///< path

}  // namespace micrec
