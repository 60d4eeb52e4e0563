#pragma once

#include <string>
#include <vector>

#include "checkpoints/run_folder.h"
#include "command_line/flags.h"

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

}  // namespace micrec
