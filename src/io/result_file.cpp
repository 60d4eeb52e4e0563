#include "io/result_file.h"

#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "io/paths.h"

namespace micrec {

void refuse_one_file_for_two(const std::string& flag, const std::string& path,
                             const std::string& other_flag, const std::string& other) {
  if (path.empty() || other.empty()) return;
  refuse_output_over_inputs(flag, path, {other});
  if (look_at(path) == PathKind::missing &&
      std::filesystem::weakly_canonical(path) == std::filesystem::weakly_canonical(other)) {
    throw Error(Cause::usage, flag, " and ", other_flag, " both name ", path,
                "; give each a file of its own");
  }
}

ResultFile::ResultFile(const std::string& path) : path_(path) {
  if (path.empty()) return;
  unfinished_.emplace(path);
  errno = 0;
  file_.open(unfinished_->name());
}

void ResultFile::finish(const std::string& origin) {
  if (!unfinished_) return;
  file_.close();
  if (!file_) refuse_path("write", path_, errno);
  unfinished_->finish();
  std::cerr << path_ << " written, from " << origin << "\n";
}

}  // namespace micrec
