#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/ahead.h"
#include "base/timer.h"
#include "checkpoints/store.h"
#include "cluster/communicator.h"
#include "data/batches.h"
#include "kernels/device_pace.h"
#include "model/model.h"
#include "train/kept_loss.h"
#include "train/log/step_clock.h"
#include "train/optimizer.h"
#include "train/training_state.h"

namespace micrec {

struct TrainingConfig {
  double learning_rate = 1e-3;
  bool lr_decay = false;  ///< constant for the first half of max_steps, then linear to 5%
  std::int64_t epochs = 1000;
  std::int64_t max_steps = 0;             ///< 0: as many as the epochs have
  std::int64_t patience = 50;             ///< validations without improvement; 0: no early stopping
  std::int64_t validate_every = 1;        ///< epochs; 0: not by epochs
  std::int64_t validate_every_steps = 0;  ///< steps; 0: not by steps
  std::int64_t log_every = 50;            ///< steps
  std::int64_t save_every_steps = 0;      ///< 0: not by steps
  std::int64_t save_every_epochs = 1;     ///< 0: not by epochs
  double save_every_minutes = 30;         ///< 0: not by time
  bool async_save = true;                 ///< training goes on while a checkpoint is written
  Commit commit = Commit::rename;
  int keep_last = 3;
  double time_limit_seconds = 0;   ///< wall-clock time of this process; 0: none
  std::int64_t profile_steps = 0;  ///< steps whose parts are timed, after some that warm up
};

/// The learning rate that was asked for or, where none was (0), that of the batch: with an
/// automatic batch it rises with the root of the triples, as the noise of their mean falls, up to
/// the largest that was tried.
double learning_rate_of(double asked, bool is_automatic_batch, std::int64_t batch_size);

/// Learning rate of a step, counted from 0.
double learning_rate_at(const TrainingConfig& config, std::int64_t step);

/// The loss of one step over all ranks, in its parts as weighted in the total.
struct StepRecord {
  std::int64_t epoch = 0;  // from 0
  std::int64_t step = 0;   // steps taken, this one counted
  double loss = 0;
  StepLoss parts;
  double learning_rate = 0;
  double seconds = 0;  // of training since the last record, validation and saving left out
  double triples_per_second = 0;  // over all ranks, over the same time; 0: it has no triples
  std::int64_t steps = 1;         // taken since the last record
  LedgerEntries traffic;          // of this rank, of these steps alone
};

/// What a run tells while it goes; called on every rank with the same values.
struct TrainingEvents {
  std::function<void(const StepRecord&)> stepped;  // every log_every steps
  /// Evaluates on the validation split and returns its metric, higher is better. Collective. z:
  /// (whole rows, dim). It may throw Stopped, and weigh_best too: the run saves and is interrupted.
  std::function<double(const TrainingState&, const at::Tensor& z)> validate;
  /// What the model's terms are weighed by, after a validation that improved. Collective.
  std::function<void(const at::Tensor& z)> weigh_best;
  std::function<void(const TrainingState&, double metric, bool improved)> validated;
  /// Where nothing validates: what the model's terms are weighed by, before a save. Collective.
  std::function<void(const at::Tensor& z)> weigh;
  std::function<void(const SavedCheckpoint&)> saved;  // once it is published
  std::function<void(const StepProfile&)> profiled;   // this rank's, once a run
  std::function<void(SaveStep)> save_step;            // on the thread that writes; for tests
  std::function<bool()> stop_requested;               // local; the ranks agree
};

enum class TrainingEnd { finished, early_stopped, interrupted };

/// The training loop: step, validation, early stopping, best and last checkpoint.
///
/// A save blocks the loop while the state is copied; it is written in the background, and the ranks
/// learn from the sums of a step that all have written. A best checkpoint, one asked for by steps
/// and the last one wait for a save that is still under way; one by epochs is left out then, and
/// one by time put off. Whatever is under way is finished before run() returns or says that the
/// loss diverged.
///
/// A run that is asked to stop saves at once, and is interrupted even after its last step: a
/// validation that is due then, or was under way, is the first that a resumed run does.
class Trainer {
 public:
  /// `description` carries what a checkpoint says of its run: config text, dataset, grid. All
  /// references outlive the trainer.
  Trainer(const TrainingConfig& config, Model& model, Optimizer& optimizer, EpochSampler& sampler,
          CheckpointStore& checkpoints, CheckpointInfo description, TrainingEvents events);

  /// Trains from the state until the run ends. Ranks: collective.
  /// Errors   Error(Cause::diverged) on all ranks when the loss is not finite: neither that step
  ///          nor
  /// any after it is taken, the last checkpoint stays. On a CPU in that very step, on a GPU where
  /// the loss is read: before it is told and before anything is validated or saved.
  TrainingEnd run(TrainingState& state);

  /// Whether this process is asked to stop, or its time is up but for what a save may take. Ranks:
  /// local, on any thread while a validation is under way.
  bool is_asked_to_stop() const;

  /// Takes one step; run() is made of these. The record has its loss on a CPU; on a GPU once
  /// read_loss() has read it. Ranks: collective.
  StepRecord take_step(TrainingState& state);

  /// How long a save asked for now would take until it is published, the rest of one that is under
  /// way included. Ranks: local; rank 0 knows best.
  double predicted_save_seconds() const { return checkpoints_.predicted_save_seconds(); }

  std::int64_t steps_per_epoch() const { return sampler_.steps_per_epoch(); }
  /// The step at which the run ends if nothing ends it earlier.
  std::int64_t last_step() const;

 private:
  /// The plan of the step that follows `state.step`. Beside a GPU the next one is begun meanwhile,
  /// or where planning is collective its batch.
  std::unique_ptr<StepContext> plan_of_step(const TrainingState& state);
  /// The one whose annealing inference uses now.
  std::int64_t annealing_epoch(const TrainingState& state) const;
  bool goes_on(const TrainingState& state) const;
  bool is_out_of_patience(const TrainingState& state) const;
  bool is_validated_after(std::int64_t step) const;
  /// Validates if that is due and no stop is agreed on. A stop in the midst of it is one that all
  /// ranks agree on.
  void validate_if_due(TrainingState& state);
  void validate(TrainingState& state);
  /// Reads the latest loss into the record. Errors: as run(). Ranks: collective where it throws.
  void read_loss(TrainingState& state, StepRecord& record);
  double seconds_of_reading(TrainingState& state, StepRecord& record);
  void refuse_if_diverged(TrainingState& state);
  void tell(const std::optional<StepProfile>& profile);
  /// Begins to save unless this step is saved; the last save of a run is written as it is. A best
  /// one replaces what an interrupted run saved of the step before its validation.
  void save(TrainingState& state, bool is_best, bool is_last);
  void save_if_due(TrainingState& state);
  void advance_save();
  void finish_save();
  bool out_of_time() const;

  TrainingConfig config_;
  Model& model_;
  Optimizer& optimizer_;
  EpochSampler& sampler_;
  CheckpointStore& checkpoints_;
  CheckpointInfo description_;
  TrainingEvents events_;
  StepClock clock_;
  KeptLoss kept_loss_;
  DevicePace pace_{2};  // steps, so that a device has always something to do
  Timer since_start_;
  Timer since_save_;
  double longest_step_seconds_ = 0;
  double longest_unasked_seconds_ = 0;  // of a validation, in which no stop is asked for
  std::int64_t saved_step_ = -1;        // of the last save that was begun
  bool save_part_done_ = false;         // on all ranks
  bool stop_agreed_ = false;
  std::optional<Ahead<TripleBatch>> batches_;  // of steps counted from 0, as the plans
  std::optional<Ahead<std::unique_ptr<StepContext>>> plans_;
};

}  // namespace micrec
