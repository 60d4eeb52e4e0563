#pragma once

#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include "io/unfinished_file.h"

namespace micrec {

/// The result of a command: a file, or standard output where its path is empty.
class ResultFile {
 public:
  /// Errors   Error(io) where it cannot be written.
  explicit ResultFile(const std::string& path);

  std::ostream& stream() { return unfinished_ ? file_ : std::cout; }
  /// Gives the file its name and says that it is there; `origin` is what it was made from.
  void finish(const std::string& origin);

 private:
  std::string path_;
  std::optional<UnfinishedFile> unfinished_;
  std::ofstream file_;
};

}  // namespace micrec
