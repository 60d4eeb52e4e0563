#pragma once

#include <cstdint>
#include <iosfwd>

#include "io/feature_file.h"

namespace micrec {

/// What is worth telling of the values of a feature file.
struct FeatureSummary {
  std::int64_t rows = 0;
  std::int64_t zero_rows = 0;  // of zeros only
  double mean_length = 0;      // Euclidean, of a row
};

/// Errors   those of FeatureFile::read_rows: all values are finite where there are none.
/// Cost     Reads the values once, in blocks of 4,096 rows.
FeatureSummary summarise(const FeatureFile& file);

/// Tells of a feature file its size, its values and its first keys.
void describe(const FeatureFile& file, const FeatureSummary& summary, std::ostream& out);

}  // namespace micrec
