#pragma once

#include <cstdint>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "model/model.h"
#include "train/node_origins.h"
#include "train/optimizer.h"

namespace micrec {

/// Where a run stands; with the parameters and the optimizer's moments all that a resume needs, as
/// everything random is a function of the step.
struct TrainingState {
  std::int64_t step = 0;  // steps taken
  double best_metric = -1;
  std::int64_t best_step = 0;
  std::int64_t validations_without_improvement = 0;
  bool is_validation_due = false;  // of this step: the run was stopped before it

  // Of the runs that this one began from, which Adam and the annealing go on from.
  std::int64_t steps_before = 0;
  std::int64_t epochs_before = 0;
};

/// The epoch of the last of `step` steps taken: the one whose annealing inference uses.
std::int64_t epoch_of_last_step(std::int64_t step, std::int64_t steps_per_epoch);
/// The same from what a checkpoint says. Errors: Error(Cause::checkpoint) where it does not say it.
std::int64_t annealing_epoch(const CheckpointInfo& info);

/// The tensors of a model and its optimizer as a checkpoint has them, the rows of
/// Shard::whole_nodes; without column parts they share the model's memory, otherwise they are
/// copies. Ranks: collective.
std::vector<CheckpointTensor> checkpoint_tensors(Model& model, const Optimizer& optimizer);

/// Fills the model and, where there is one, its optimizer from a checkpoint, and refreshes the
/// model. With `origins` the checkpoint is of another data set: rows of new nodes are zero.
/// Ranks: collective; every rank reads its whole rows.
TrainingState restore(const Checkpoint& checkpoint, Model& model, Optimizer* optimizer,
                      const NodeOrigins* origins = nullptr);

/// Has a checkpoint say where its run stands, which restore() gives back.
void put_state(const TrainingState& state, std::int64_t steps_per_epoch, CheckpointInfo& info);

}  // namespace micrec
