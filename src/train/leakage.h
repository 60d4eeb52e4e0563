#pragma once

#include <ostream>

#include "checkpoints/checkpoint.h"
#include "data/dataset_file.h"

namespace micrec {

/// Warns on `log`, by domain, where interactions that a data set is validated and tested on are
/// training interactions of the run that another begins from, or of one that it has begun from
/// itself: the metrics then tell how well these are remembered. What cannot be compared is told.
///
/// `begun_from`: of a checkpoint of that run.
/// Ranks    local.
/// Cost     reads the training interactions of each of these runs' data sets that this one does not
///          extend; 8 bytes for an interaction of its own validation and test splits.
void warn_of_leakage(const CheckpointInfo& begun_from, const DatasetFile& dataset,
                     std::ostream& log);

}  // namespace micrec
