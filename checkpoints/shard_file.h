#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "checkpoints/checkpoint.h"

namespace micrec {

/// What this rank puts into its file of a checkpoint.
struct ShardContents {
  int rank = 0;
  std::int64_t step = 0;
  std::vector<GlobalNode> owned;          // strictly rising
  std::vector<CheckpointTensor> tensors;  // those that this rank writes
};

/// Writes a file of a checkpoint and returns its datasets, without digests. Ends early, by an
/// Error, once `abandoned` is set.
/// Errors   Error(Cause::io) where it cannot be written.
/// Cost     One chunk of 16 MiB beyond the tensors; none where they are contiguous on the host.
std::vector<StoredDataset> write_shard(const std::string& path, const ShardContents& contents,
                                       const std::atomic<bool>& abandoned);

/// What the manifest is to say of a file that has been written.
StoredShard describe_shard(const std::string& path, const ShardContents& contents,
                           std::vector<StoredDataset> datasets);

/// The name of a trained tensor with a value that is not finite, if there is one.
std::optional<std::string> tensor_not_finite(const std::vector<CheckpointTensor>& tensors);

/// What is wrong with a file of a checkpoint: "it has 100 bytes, the manifest says 200: ...".
/// Nothing where it is as the manifest says.
/// Errors   Error(Cause::io) where the system cannot read it.
std::optional<std::string> damage_of(const std::string& path, const StoredShard& shard,
                                     Verify verify);

}  // namespace micrec
