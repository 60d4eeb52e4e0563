#pragma once

#include <string>
#include <vector>

#include "command_line/flags.h"
#include "serve/trained_run.h"

namespace micrec {

/// The flags that say what came after a run was trained: --items, --observed and how the files of the
/// latter are written. Of commands that read a run.
std::vector<Flag> addition_flags(LaterFiles& files);

/// What reads these files; none where there are none. Errors of it: besides those of
/// make_additions() Error(usage) where a list cannot be read.
AdditionsReader additions_reader(const LaterFiles& files);

/// The paths among them. Errors: Error(usage) where a list cannot be read.
std::vector<std::string> files_of(const LaterFiles& files);

}  // namespace micrec
