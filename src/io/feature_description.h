#pragma once

#include <iosfwd>
#include <string>

namespace micrec {

/// Tells of a feature file its size, its values and its first keys.
///
/// Errors   those of FeatureFile::open and read_rows, before anything is told.
/// Cost     Reads the values once, in blocks of 4,096 rows.
void describe_features(const std::string& path, std::ostream& out);

}  // namespace micrec
