#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  std::vector<VerifiedFile> files;  // manifest.json first; alone where it cannot be read

  bool whole() const;
};

/// Reads every byte of a checkpoint and compares it with the manifest, all files, whatever is wrong
/// with some. What the system cannot read is damage as well. Ranks: local.
VerifiedCheckpoint verify_checkpoint(const std::string& path);

}  // namespace micrec
