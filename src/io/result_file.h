#pragma once

#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include "io/unfinished_file.h"

namespace micrec {

/// Refuses two outputs that are one file, which the second would replace. An empty path is no
/// output.
///
/// Errors   Error(usage).
void refuse_one_file_for_two(const std::string& flag, const std::string& path,
                             const std::string& other_flag, const std::string& other);

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
