#include "io/result_file.h"

#include <cerrno>

#include "io/paths.h"

namespace micrec {

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
