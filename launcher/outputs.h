#pragma once

#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/run_folder.h"
#include "command_line/flags.h"
#include "io/unfinished_file.h"

namespace micrec {

/// Refuses an output before anything is opened to write and before long work for it begins.
/// `inputs` are the files that the command reads; its flagfiles count by themselves. An empty path
/// is no output.
///
/// Errors   Error(io) where it cannot be written, Error(usage) where it is one of the inputs, or
///          what some run has written about itself.
void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs);

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
