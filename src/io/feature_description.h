#pragma once

#include <iosfwd>

#include "io/feature_file.h"

namespace micrec {

/// Tells of a feature file its size, its values and its first keys.
///
/// Errors   those of FeatureFile::read_rows, before anything is told.
/// Cost     Reads the values once, in blocks of 4,096 rows.
void describe(const FeatureFile& file, std::ostream& out);

}  // namespace micrec
