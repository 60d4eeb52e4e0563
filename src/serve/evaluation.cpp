#include "serve/evaluation.h"

#include <utility>

#include "base/text.h"
#include "base/timer.h"

namespace micrec {

std::optional<RunEvaluation> evaluate_run(TrainedRun& run, Split split,
                                          const std::vector<std::int64_t>& k,
                                          std::int64_t most_users,
                                          const std::function<bool()>& is_asked_to_stop) {
  Communicator& communicator = *run.shard.world;
  const ItemRegression& regression = run.model->item_regression();
  Evaluator evaluator({run.dataset, run.summary.space, run.shard.ownership, communicator.rank()},
                      {.split = split,
                       .k = k,
                       .with_new_nodes = true,
                       .histories = regression.is_on(),
                       .ages = !regression.half_life().empty(),
                       .most_users = most_users,
                       .squares = most_users > 0,
                       .is_asked_to_stop = is_asked_to_stop});
  const at::Tensor z = run.model->embeddings(run.epoch);  // (owned rows, dim) float32
  const Timer timer;
  ItemsAhead items_ahead;
  Report report = regression.is_on()
                      ? evaluator.evaluate({z, run.coefficients(), regression.half_life()},
                                           regression.mixes(), communicator, &items_ahead)
                      : evaluator.evaluate(z, communicator, &items_ahead);
  RunEvaluation evaluation{std::move(report), std::move(evaluator), std::move(items_ahead)};
  if (!evaluation.report.has_users()) return std::nullopt;
  evaluation.report.checkpoint = run.checkpoint;
  evaluation.ranking_seconds = timer.seconds();
  return evaluation;
}

EvaluatedUsers evaluated_users(const TrainedRun& run, const RunEvaluation& evaluation) {
  return {run.dataset, evaluation.evaluator, evaluation.items_ahead, evaluation.report,
          name_of(run.model->config().kind)};
}

Error nothing_to_evaluate(const TrainedRun& run, Split split) {
  return {Cause::data,
          text(run.dataset.path(), " has no interactions in '", name_of(split),
               "', so there is nothing to evaluate; prepare it with another --split, or try "
               "--split=",
               split == Split::test ? "valid" : "test")};
}

}  // namespace micrec
