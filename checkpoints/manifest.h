#pragma once

#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace micrec {

/// The contents of manifest.json; its form is described in checkpoints/format.h.
struct Manifest {
  CheckpointInfo info;
  std::int64_t rows = 0;
  std::vector<StoredShard> shards;
  std::vector<StoredTensor> tensors;
};

/// Name of the checkpoint of a step: "step-000000001200".
std::string checkpoint_name(std::int64_t step);

/// The step in such a name, or -1 if it is not one.
std::int64_t step_of_checkpoint_name(const std::string& name);

/// Name of the n-th file: "shard-00000.h5".
std::string shard_name(std::int64_t number);

/// As text, with its own checksum.
std::string to_json_text(const Manifest& manifest);

/// From such text; `path` is for messages.
/// Errors   Error(Cause::checkpoint) where it is of another format or a newer version, damaged, or
/// says what cannot be.
Manifest parse_manifest(const std::string& json_text, const std::string& path);

}  // namespace micrec
