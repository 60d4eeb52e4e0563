#pragma once

#include <string>
#include <vector>

#include "launcher/flags.h"

namespace micrec {

/// Refuses an output before anything is opened to write and before long work for it begins.
/// `inputs` are the files that the command reads; its flagfiles count by themselves. An empty path
/// is no output.
///
/// Errors   Error(io) where it cannot be written, Error(usage) where it is one of the inputs, or
///          what some run has written about itself.
void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs);

/// The files that a run has written about itself, checkpoints included; none where there is no such
/// folder. Errors: Error(io) where it cannot be listed.
std::vector<std::string> files_of_run(const std::string& run_dir);

}  // namespace micrec
