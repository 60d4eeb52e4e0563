#include "io/paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/path_error.h"
#include "io/descriptor.h"

namespace micrec {
namespace {

/// Nothing where nothing is there.
std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return status;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  refuse_path("look at", path, errno);
}

}  // namespace

PathKind look_at(const std::string& path) {
  const std::optional<struct stat> status = status_of(path);
  if (!status) return PathKind::missing;
  if (S_ISREG(status->st_mode)) return PathKind::file;
  return S_ISDIR(status->st_mode) ? PathKind::folder : PathKind::other;
}

bool is_there(const std::string& path) { return look_at(path) != PathKind::missing; }

bool is_folder(const std::string& path) { return look_at(path) == PathKind::folder; }

std::string folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

std::int64_t bytes_of_file(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) refuse_path("read", path, error.value());
  return static_cast<std::int64_t>(bytes);
}

std::vector<std::string> list_folder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) refuse_path("list", path, errno);
  std::vector<std::string> entries;
  errno = 0;
  while (const dirent* const entry = ::readdir(folder.get())) {
    const std::string name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..")
      entries.push_back(path.ends_with('/') ? path + name : path + "/" + name);
    errno = 0;
  }
  if (errno != 0) refuse_path("list", path, errno);
  std::ranges::sort(entries);
  return entries;
}

void refuse_path(std::string_view action, const std::string& path, int error) {
  throw Error(Cause::io, path_error(action, path, error));
}

void refuse_unreadable(const std::string& path) {
  const PathKind kind = look_at(path);
  if (kind == PathKind::folder) refuse_path("read", path, EISDIR);
  if (kind == PathKind::other) return;
  if (!Descriptor(path, O_RDONLY).ok()) refuse_path("open", path, errno);
}

void refuse_output_over_inputs(const std::string& flag, const std::string& output,
                               const std::vector<std::string>& inputs) {
  const std::optional<struct stat> written = status_of(output);
  if (!written || !S_ISREG(written->st_mode)) return;
  for (const std::string& input : inputs) {
    struct stat read {};
    // An input that cannot be looked at is refused by whoever reads it, with the reason.
    if (::stat(input.c_str(), &read) != 0) continue;
    if (read.st_dev == written->st_dev && read.st_ino == written->st_ino) {
      throw Error(Cause::usage, flag, "=", output, " is the same file as ",
                  output == input ? "an input of this command" : input,
                  output == input ? "" : ", which this command reads",
                  ": writing it would destroy it; name another file");
    }
  }
}

}  // namespace micrec
