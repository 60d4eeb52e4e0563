#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/error.h"
#include "evaluate/evaluator.h"
#include "evaluate/per_user_file.h"
#include "evaluate/report.h"
#include "serve/trained_run.h"

namespace micrec {

struct RunEvaluation {
  Report report;
  Evaluator evaluator;  ///< with `items_ahead`, the metrics of each user: evaluate/user_metrics.h
  ItemsAhead items_ahead;
  double ranking_seconds = 0;  ///< without reading the interactions and computing the embeddings
};

/// Ranks every user of a run's data set exactly, new users and items let in; nothing where the
/// split has no interactions. The report has the same bits at any number of ranks. Of a domain with
/// more than `most_users` (0: any number) it ranks so many, always the same ones.
/// `is_asked_to_stop`: as EvaluationOptions has it.
///
/// Ranks    collective, over those that opened the run.
/// Errors   those of Evaluator; Stopped.
std::optional<RunEvaluation> evaluate_run(TrainedRun& run, Split split,
                                          const std::vector<std::int64_t>& k,
                                          std::int64_t most_users = 0,
                                          const std::function<bool()>& is_asked_to_stop = {});

/// What the metrics of each user are made of; refers to both.
EvaluatedUsers evaluated_users(const TrainedRun& run, const RunEvaluation& evaluation);

/// The sentence for a split without interactions: there is nothing to evaluate.
Error nothing_to_evaluate(const TrainedRun& run, Split split);

}  // namespace micrec
