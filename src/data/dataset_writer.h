#pragma once

#include <string>

#include "data/prepared_dataset.h"

namespace micrec {

/// Writes a dataset file (data/dataset_format.h) and returns its fingerprint.
///
/// The file appears under its name only when it is complete and on the disk; on failure nothing is
/// left behind, and a file that was there before is still there.
/// Errors   Error(io) where it cannot be written (the disk is full, no such folder); whatever
///          reading the features throws.
/// Cost     Features are copied in pieces of a few MiB.
std::string write_dataset(const PreparedDataset& dataset, const std::string& path);

}  // namespace micrec
