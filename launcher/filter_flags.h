#pragma once

#include <vector>

#include "command_line/flags.h"
#include "serve/filter/filter_files.h"

namespace micrec {

/// Which items lists are made of: --only_items, --exclude_items, --attributes, --where, --at_most
/// and --min_degree.
std::vector<Flag> filter_flags(FilterOptions& options);

}  // namespace micrec
