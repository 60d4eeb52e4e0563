#include "serve/evaluation.h"

#include "base/timer.h"
#include "evaluate/evaluator.h"

namespace micrec {

std::optional<RunEvaluation> evaluate_run(TrainedRun& run, Split split,
                                          const std::vector<std::int64_t>& k) {
  Communicator& communicator = *run.shard.world;
  ItemRegression& regression = run.model->item_regression();
  const Evaluator evaluator(run.dataset, run.summary.space, run.shard.ownership,
                            communicator.rank(),
                            {.split = split,
                             .k = k,
                             .with_new_nodes = true,
                             .histories = regression.is_on(),
                             .threads = run.shard.threads});
  const at::Tensor z = run.model->embeddings(run.epoch);  // (owned rows, dim) float32
  const Timer timer;
  RunEvaluation evaluation{regression.is_on() ? evaluator.evaluate({z, &regression.coefficients()},
                                                                   regression.mixes(), communicator)
                                              : evaluator.evaluate(z, communicator),
                           0};
  if (!evaluation.report.has_users()) return std::nullopt;
  evaluation.report.checkpoint = run.checkpoint;
  evaluation.ranking_seconds = timer.seconds();
  return evaluation;
}

}  // namespace micrec
