#include "io/unfinished_file.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "io/durable_files.h"
#include "io/paths.h"

namespace micrec {
namespace {

constexpr char kLongestSuffix[] = ".unfinished-4194304";  // the highest process number

}  // namespace

void refuse_unwritable(const std::string& path) {
  const std::string folder = folder_of(path);
  const PathKind kind = look_at(path);
  if (kind == PathKind::missing && !is_folder(folder)) {
    throw Error(Cause::io, "cannot write ", path, ": there is no folder ", folder,
                "; make it or choose another place");
  }
  if (kind == PathKind::folder) refuse_path("write", path, EISDIR);
  // A file is replaced, which its folder must allow, and one that its owner has made read-only is
  // not to be. A device is written as it is.
  if ((kind != PathKind::other && ::access(folder.c_str(), W_OK) != 0) ||
      (kind != PathKind::missing && ::access(path.c_str(), W_OK) != 0)) {
    refuse_path("write", path, errno);
  }
  const std::string name = std::filesystem::path(path).filename().string() + kLongestSuffix;
  const long longest = ::pathconf(folder.c_str(), _PC_NAME_MAX);
  if (kind != PathKind::other && longest > 0 && name.size() > static_cast<std::size_t>(longest)) {
    refuse_path("write", path, ENAMETOOLONG);
  }
}

UnfinishedFile::UnfinishedFile(const std::string& path)
    : path_(path), name_(text(path, ".unfinished-", getpid())) {
  refuse_unwritable(path);
  if (look_at(path) == PathKind::other) name_ = path;
}

UnfinishedFile::~UnfinishedFile() {
  if (name_ == path_) return;
  std::error_code ignored;  // After finish() there is nothing to remove.
  std::filesystem::remove(name_, ignored);
}

void UnfinishedFile::sync() {
  if (name_ != path_) sync_to_disk(name_);
}

void UnfinishedFile::finish() {
  if (name_ == path_) return;
  sync();
  rename_file_durably(name_, path_);
}

void write_contents(const UnfinishedFile& file, std::string_view contents) {
  errno = 0;
  std::ofstream stream(file.name(), std::ios::binary);
  stream << contents;
  stream.close();
  if (!stream) refuse_path("write", file.path(), errno);
}

void write_whole_file(const std::string& path, std::string_view contents) {
  UnfinishedFile unfinished(path);
  write_contents(unfinished, contents);
  unfinished.finish();
}

}  // namespace micrec
