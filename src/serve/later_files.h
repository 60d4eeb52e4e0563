#pragma once

#include <string>
#include <vector>

#include "serve/trained_run.h"

namespace micrec {

/// What reads these files; none where there are none. Errors of it: besides those of
/// make_additions() Error(usage) where a list cannot be read.
AdditionsReader additions_reader(const LaterFiles& files);

/// The paths among them. Errors: Error(usage) where a list cannot be read.
std::vector<std::string> files_of(const LaterFiles& files);

}  // namespace micrec
