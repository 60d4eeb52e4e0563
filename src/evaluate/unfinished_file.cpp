#include "evaluate/unfinished_file.h"

#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/durable_files.h"

namespace micrec {

UnfinishedFile::UnfinishedFile(const std::string& path)
    : path_(path), name_(text(path, ".unfinished-", getpid())) {
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) name_ = path;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    throw Error(Cause::io, text("cannot write ", path, ": there is no folder ", folder.string(),
                                "; make it or choose another place"));
  }
}

UnfinishedFile::~UnfinishedFile() {
  if (name_ == path_) return;
  std::error_code ignored;  // After finish() there is nothing to remove.
  std::filesystem::remove(name_, ignored);
}

void UnfinishedFile::finish() {
  if (name_ == path_) return;
  sync_to_disk(name_);
  std::error_code failure;
  std::filesystem::rename(name_, path_, failure);
  if (failure) {
    throw Error(Cause::io, text("cannot rename ", name_, " to ", path_, ": ", failure.message()));
  }
}

}  // namespace micrec
