#pragma once

#include <string>
#include <vector>

#include "command_line/flags.h"
#include "serve/trained_run.h"

namespace micrec {

/// The flags that say what came after a run was trained: --items, --observed and how the files of
/// the latter are written, and `history` where that is another such file. Of commands that read a
/// run.
std::vector<Flag> addition_flags(LaterFiles& files, const std::string* history = nullptr);

}  // namespace micrec
