#pragma once

#include <cstdint>
#include <string>

#include "checkpoints/checkpoint.h"

namespace micrec {

/// Name of the checkpoint of a step: "step-000000001200".
std::string checkpoint_name(std::int64_t step);

/// The step in such a name, or -1 if it is not one.
std::int64_t step_of_checkpoint_name(const std::string& name);

/// Name of the n-th file: "shard-00000.h5".
std::string shard_name(std::int64_t number);

/// Throws NewerFormat where a file's version is above the newest that this program reads.
void refuse_newer_format(const std::string& path, std::int64_t version, std::int64_t newest);

/// As text, with its own checksum, which `checksum` takes.
std::string to_json_text(const Manifest& manifest, std::string* checksum = nullptr);

/// What a manifest says of one file, as text and back, for the way from rank to rank.
std::string to_json_text(const StoredShard& shard);
StoredShard parse_shard(const std::string& json_text);

/// From such text; `path` is for messages.
/// Errors   NewerFormat where it is of a newer version; Error(Cause::checkpoint) where it is of
///          another format, damaged, or says what cannot be.
Manifest parse_manifest(const std::string& json_text, const std::string& path);

/// The manifest of a checkpoint, which must be complete.
/// Errors   as parse_manifest, and Error(Cause::checkpoint) where `directory` is no checkpoint or
///          an incomplete one; Error(Cause::io) where the system cannot read it.
Manifest read_manifest(const std::string& directory);

}  // namespace micrec
