#include "io/unfinished_file.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "io/durable_files.h"

namespace micrec {
namespace {

std::filesystem::path folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

void refuse_unwritable(const std::string& path) {
  const std::filesystem::path folder = folder_of(path);
  if (!std::filesystem::is_directory(folder)) {
    throw Error(Cause::io, text("cannot write ", path, ": there is no folder ", folder.string(),
                                "; make it or choose another place"));
  }
  if (std::filesystem::is_directory(path)) {
    throw Error(Cause::io, text("cannot write ", path, ": it is a folder; name a file"));
  }
  if (::access(folder.c_str(), W_OK) != 0) {
    throw Error(Cause::io,
                text("cannot write ", path, ": ", std::generic_category().message(errno)));
  }
}

UnfinishedFile::UnfinishedFile(const std::string& path)
    : path_(path), name_(text(path, ".unfinished-", getpid())) {
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) name_ = path;
  refuse_unwritable(path);
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
  sync_to_disk(folder_of(path_).string());
}

}  // namespace micrec
