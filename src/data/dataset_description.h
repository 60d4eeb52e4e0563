#pragma once

#include <iosfwd>

#include "data/dataset_file.h"

namespace micrec {

/// Tells of a dataset what made it, what its domains hold, and which people they share.
///
/// Errors   those of reading it; what was told until then stands.
void describe(const DatasetFile& dataset, std::ostream& out);

}  // namespace micrec
