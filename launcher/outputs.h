#pragma once

#include <string>
#include <vector>

#include "checkpoints/run_folder.h"
#include "command_line/flags.h"
#include "io/paths.h"
#include "io/result_file.h"

namespace micrec {

/// Refuses an output before anything is opened to write and before long work for it begins.
/// `inputs` are the files that the command reads; its flagfiles count by themselves. An empty path
/// is no output.
///
/// Errors   Error(io) where it cannot be written, Error(usage) where it is one of the inputs, or
///          what some run has written about itself.
void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs);

}  // namespace micrec
