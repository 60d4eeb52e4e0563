#include "checkpoints/verify.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "checkpoints/shard_file.h"
#include "cluster/agreement.h"

namespace micrec {

namespace fs = std::filesystem;

bool VerifiedCheckpoint::whole() const {
  return std::all_of(files.begin(), files.end(),
                     [](const VerifiedFile& file) { return file.damage.empty(); });
}

VerifiedCheckpoint verify_checkpoint(const std::string& path) {
  VerifiedCheckpoint verified{path, {}};
  const fs::path folder(path);
  Manifest manifest;
  const std::optional<Failure> failure = attempt([&] { manifest = read_manifest(path); });
  std::error_code error;
  const auto bytes = fs::file_size(folder / kCheckpointManifestFile, error);
  verified.files.push_back({kCheckpointManifestFile, error ? 0 : static_cast<std::int64_t>(bytes),
                            failure ? failure->message : "",
                            failure && failure->cause == Cause::io});
  if (failure) return verified;
  for (const StoredShard& shard : manifest.shards) {
    VerifiedFile file{shard.file, shard.bytes, "", false};
    const std::optional<Failure> unreadable = attempt([&] {
      file.damage =
          damage_of((folder / shard.file).string(), shard, Verify::checksums).value_or("");
    });
    if (unreadable) {
      file.damage = unreadable->message;
      file.refused = unreadable->cause == Cause::io;
    }
    verified.files.push_back(file);
  }
  return verified;
}

}  // namespace micrec
