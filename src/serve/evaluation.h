#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "evaluate/report.h"
#include "serve/trained_run.h"

namespace micrec {

struct RunEvaluation {
  Report report;
  double ranking_seconds = 0;  ///< without reading the interactions and computing the embeddings
};

/// Ranks every user of a run's data set exactly, new users and items let in; nothing where the split
/// has no interactions. The report has the same bits at any number of ranks.
///
/// Ranks    collective, over those that opened the run.
/// Errors   those of Evaluator.
std::optional<RunEvaluation> evaluate_run(TrainedRun& run, Split split,
                                          const std::vector<std::int64_t>& k);

}  // namespace micrec
