#pragma once

#include <string>

#include "kernels/sparse_rows.h"
#include "serve/trained_run.h"
#include "train/node_origins.h"

namespace micrec {

/// Item regression of a run whose data set holds items that came after training: those that it was
/// fitted for keep their coefficients; new ones are solved for from what was observed of them
/// since, and from their features, with the settings of that fit, among all items that anybody has
/// met.
///
/// Shapes   rows: this rank's items of run.shard, numbered now as the columns are.
/// Ranks    collective.
/// Errors   those of read_coefficients(); Error(Cause::checkpoint) where the file does not say how
///          it was fitted.
/// Cost     without new items that of reading; else one fit for them alone, and three passes over
///          the features.
SparseRows coefficients_with_new_items(const TrainedRun& run, const std::string& path,
                                       const NodeOrigins& origins);

}  // namespace micrec
