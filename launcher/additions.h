#pragma once

#include <string>
#include <vector>

#include "launcher/flags.h"
#include "serve/trained_run.h"

namespace micrec {

/// The flags that say what came after a run was trained: --items, --observed and how the files of the
/// latter are written. Of commands that read a run.
std::vector<FlagSpec> addition_flags();

/// What reads the files that they name; none where they name none. Errors: Error(usage) where a list
/// cannot be read.
AdditionsReader additions_from_flags();

/// Those files, which no output may replace.
std::vector<std::string> files_of_additions();

}  // namespace micrec
