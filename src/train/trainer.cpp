#include "train/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/stopped.h"
#include "base/text.h"

namespace micrec {
namespace {

/// What the ranks vote on each step.
enum Vote : std::int64_t { kStop, kSavePartDone, kVotes };

constexpr std::int64_t kWarmUpSteps = 10;  // before those that are timed

/// Whether a step is one of every so many; 0: none is.
bool is_every(std::int64_t interval, std::int64_t step) {
  return interval > 0 && step % interval == 0;
}

}  // namespace

double learning_rate_of(double asked, bool is_automatic_batch, std::int64_t batch_size) {
  if (asked > 0) return asked;
  if (!is_automatic_batch) return TrainingConfig().learning_rate;
  constexpr double kRate = 0.01;
  constexpr double kItsBatch = 8192;
  constexpr double kMost = 0.05;
  return std::min(kMost, kRate * std::sqrt(static_cast<double>(batch_size) / kItsBatch));
}

double learning_rate_at(const TrainingConfig& config, std::int64_t step) {
  const double base = config.learning_rate;
  if (!config.lr_decay || config.max_steps == 0) return base;
  const double left = 2 * (1 - static_cast<double>(step) / static_cast<double>(config.max_steps));
  return base * std::clamp(left, 0.05, 1.0);
}

Trainer::Trainer(const TrainingConfig& config, Model& model, Optimizer& optimizer,
                 EpochSampler& sampler, CheckpointStore& checkpoints, CheckpointInfo description,
                 TrainingEvents events)
    : config_(config),
      model_(model),
      optimizer_(optimizer),
      sampler_(sampler),
      checkpoints_(checkpoints),
      description_(std::move(description)),
      events_(std::move(events)),
      clock_(config.profile_steps, kWarmUpSteps, *model.shard().world, model.shard().device,
             /*records_device=*/model.shard().world->rank() == 0) {
  CHECK(!config_.lr_decay || config_.max_steps > 0) << "a decay needs an end";
}

std::int64_t Trainer::last_step() const {
  const std::int64_t by_epochs = config_.epochs * steps_per_epoch();
  return config_.max_steps > 0 ? std::min(config_.max_steps, by_epochs) : by_epochs;
}

std::int64_t Trainer::annealing_epoch(const TrainingState& state) const {
  return state.epochs_before + epoch_of_last_step(state.step, steps_per_epoch());
}

bool Trainer::is_out_of_patience(const TrainingState& state) const {
  return config_.patience > 0 && state.validations_without_improvement >= config_.patience;
}

bool Trainer::goes_on(const TrainingState& state) const {
  return state.step < last_step() && !is_out_of_patience(state);
}

bool Trainer::is_validated_after(std::int64_t step) const {
  return events_.validate && (is_every(config_.validate_every * steps_per_epoch(), step) ||
                              is_every(config_.validate_every_steps, step) || step == last_step());
}

bool Trainer::is_asked_to_stop() const {
  return (events_.stop_requested && events_.stop_requested()) || out_of_time();
}

bool Trainer::out_of_time() const {
  if (config_.time_limit_seconds <= 0) return false;
  // Before it looks again a rank may take a step, and begin a validation or end one, which saves.
  const double needed =
      2 * predicted_save_seconds() + 2 * longest_step_seconds_ + 1 + longest_unasked_seconds_;
  return since_start_.seconds() + needed >= config_.time_limit_seconds;
}

std::unique_ptr<StepContext> Trainer::plan_of_step(const TrainingState& state) {
  using Batches = Ahead<TripleBatch>;
  using Plans = Ahead<std::unique_ptr<StepContext>>;
  const Shard& shard = model_.shard();
  if (!plans_) {
    const bool is_alone = shard.communicator->size() == 1;
    const bool is_beside = !shard.device.is_cpu();  // a GPU
    batches_.emplace(
        [this](std::int64_t step) {
          return sampler_.batch(step / steps_per_epoch(), step % steps_per_epoch());
        },
        is_beside && !is_alone ? Batches::Where::on_a_thread : Batches::Where::in_place);
    plans_.emplace(
        [this, epochs_before = state.epochs_before](std::int64_t step) {
          const std::int64_t epoch = step / steps_per_epoch();
          return model_.plan(batches_->take(step, /*next_follows=*/step + 1 < last_step()),
                             sampler_.global_batch_rows(step % steps_per_epoch()),
                             {step, epochs_before + epoch, &clock_});
        },
        is_beside && is_alone ? Plans::Where::on_a_thread : Plans::Where::in_place);
  }
  return plans_->take(state.step, /*next_follows=*/state.step + 1 < last_step());
}

StepRecord Trainer::take_step(TrainingState& state) {
  const Timer timer;
  clock_.begin_step();
  const std::int64_t epoch = state.step / steps_per_epoch();
  const std::int64_t step_in_epoch = state.step % steps_per_epoch();
  const std::int64_t rows = sampler_.global_batch_rows(step_in_epoch);

  std::unique_ptr<StepContext> step;  // where the kind descends by gradients
  if (model_.config().is_solved()) {
    clock_.begin(StepPart::forward);
  } else {
    step = plan_of_step(state);
    model_.loss(*step);
    clock_.begin(StepPart::backward);
  }
  at::Tensor votes = at::zeros({kVotes}, at::kDouble);
  votes[kStop] = is_asked_to_stop() ? 1.0 : 0.0;
  votes[kSavePartDone] = checkpoints_.part_done() ? 1.0 : 0.0;
  const LossValues loss = step ? model_.backward(*step, votes) : model_.solve(votes);

  clock_.begin(StepPart::optimizer);
  const c10::NoGradGuard no_gradient;
  StepRecord record;
  record.epoch = epoch;
  record.step = state.step + 1;
  record.learning_rate = learning_rate_at(config_, state.step);
  stop_agreed_ = votes[kStop].item<double>() > 0;
  save_part_done_ = votes[kSavePartDone].item<double>() == checkpoints_.ranks();
  kept_loss_.keep(loss, record.step);
  if (loss.values.is_cpu()) read_loss(state, record);

  optimizer_.step(record.learning_rate, state.steps_before + record.step, kept_loss_.taken());
  pace_.given(model_.shard().device);
  state.step = record.step;
  record.seconds = timer.seconds();
  record.triples_per_second = step ? static_cast<double>(rows) / record.seconds : 0;
  longest_step_seconds_ = std::max(longest_step_seconds_, record.seconds);
  tell(clock_.end_step(record.step));
  return record;
}

void Trainer::read_loss(TrainingState& state, StepRecord& record) {
  const KeptLoss::Reading reading = kept_loss_.read();
  record.parts = reading.loss;
  record.loss = reading.loss.total();
  if (reading.is_finite) return;
  finish_save();  // all ranks are here: what was asked for before is not lost
  state.step = reading.step - 1;
  std::vector<std::string> parts;
  for (const auto& [name, part] : reading.loss.by_name) parts.push_back(text(name, " ", part));
  throw Error(Cause::diverged, "the loss of step ", reading.step, " (epoch ",
              (reading.step - 1) / steps_per_epoch() + 1, ") is ", record.loss, " (",
              join(parts, ", "), "), expected a finite number; ",
              saved_step_ > 0
                  ? text("the checkpoint of step ", saved_step_,
                         " is kept: go on from it by --resume with a smaller --lr or more --l2")
                  : "nothing was saved before: start again with a smaller --lr or more --l2");
}

double Trainer::seconds_of_reading(TrainingState& state, StepRecord& record) {
  const Timer timer;
  read_loss(state, record);
  // What a GPU still had to do of the steps that it was given.
  longest_step_seconds_ = std::max(longest_step_seconds_, record.seconds + timer.seconds());
  return timer.seconds();
}

void Trainer::refuse_if_diverged(TrainingState& state) {
  StepRecord record;
  if (kept_loss_.has_any()) read_loss(state, record);
}

void Trainer::tell(const std::optional<StepProfile>& profile) {
  if (profile && events_.profiled) events_.profiled(*profile);
}

void Trainer::validate_if_due(TrainingState& state) {
  if (!state.is_validation_due || stop_agreed_) return;
  try {
    validate(state);
  } catch (const Stopped&) {
    stop_agreed_ = true;
  }
}

void Trainer::validate(TrainingState& state) {
  refuse_if_diverged(state);
  const Timer timer;
  const at::Tensor z = model_.embeddings(annealing_epoch(state));
  const double seconds_before = timer.seconds();
  const double metric = events_.validate(state, z);
  // A GPU is given a domain whole, and nobody is asked meanwhile.
  const double answered = model_.shard().device.is_cpu() ? timer.seconds() - seconds_before : 0;
  const bool improved = metric > state.best_metric;
  if (improved && events_.weigh_best) events_.weigh_best(z);
  // What may be stopped is over.
  state.is_validation_due = false;
  if (improved) {
    state.best_metric = metric;
    state.best_step = state.step;
    state.validations_without_improvement = 0;
    model_.fit_ridge(z);
  } else {
    ++state.validations_without_improvement;
  }
  longest_unasked_seconds_ = std::max(longest_unasked_seconds_, timer.seconds() - answered);
  if (events_.validated) events_.validated(state, metric, improved);
  // Otherwise what an interrupted run saved of this step stays: a validation that is due once more
  // tells the same.
  if (improved) save(state, /*is_best=*/true, /*is_last=*/false);
}

void Trainer::save(TrainingState& state, bool is_best, bool is_last) {
  if (state.step == saved_step_ && !is_best) return;
  refuse_if_diverged(state);
  finish_save();
  if (events_.weigh) {
    events_.weigh(model_.embeddings(annealing_epoch(state)));
  }
  CheckpointInfo info = description_;
  put_state(state, steps_per_epoch(), info);
  const SaveOptions options = {.is_best = is_best,
                               .keep_last = config_.keep_last,
                               .commit = config_.commit,
                               .refuse_not_finite = true,
                               .on_step = events_.save_step};
  saved_step_ = state.step;
  since_save_.restart();
  const std::vector<CheckpointTensor> tensors = checkpoint_tensors(model_, optimizer_);
  if (config_.async_save && !is_last) {
    checkpoints_.start_save(info, model_.shard().whole_nodes, tensors, options);
  } else {
    const SavedCheckpoint saved =
        checkpoints_.save(info, model_.shard().whole_nodes, tensors, options);
    if (events_.saved) events_.saved(saved);
  }
}

void Trainer::advance_save() {
  if (!save_part_done_) return;
  save_part_done_ = false;
  const std::optional<SavedCheckpoint> saved = checkpoints_.advance();
  if (saved && events_.saved) events_.saved(*saved);
}

void Trainer::finish_save() {
  save_part_done_ = false;
  const std::optional<SavedCheckpoint> saved = checkpoints_.finish_save();
  if (saved && events_.saved) events_.saved(*saved);
}

void Trainer::save_if_due(TrainingState& state) {
  bool due = is_every(config_.save_every_steps, state.step);
  if (is_every(config_.save_every_epochs * steps_per_epoch(), state.step)) {
    due = due || !checkpoints_.saving();
  }
  // Rank 0's clock decides; it is only asked where all ranks are together anyway.
  if (config_.save_every_minutes > 0 && is_every(config_.log_every, state.step) &&
      !checkpoints_.saving()) {
    at::Tensor overdue = at::zeros({1}, at::kLong);
    overdue.fill_(since_save_.seconds() >= 60 * config_.save_every_minutes ? 1 : 0);
    model_.shard().world->broadcast("save.due", overdue, 0);
    due = due || overdue.item<std::int64_t>() != 0;
  }
  if (due) save(state, /*is_best=*/false, /*is_last=*/false);
}

TrainingEnd Trainer::run(TrainingState& state) {
  Communicator& communicator = *model_.shard().world;
  saved_step_ = state.step > 0 ? state.step : -1;
  checkpoints_.expect(checkpoint_tensors(model_, optimizer_), config_.async_save);
  double seconds = 0;
  double triples = 0;
  std::int64_t steps = 0;
  LedgerEntries traffic;
  validate_if_due(state);  // of a step that an interrupted run has taken
  while (goes_on(state) && !stop_agreed_) {
    const LedgerEntries before = communicator.ledger().snapshot();
    StepRecord record = take_step(state);
    add(traffic, since(before, communicator.ledger().snapshot()));
    advance_save();
    seconds += record.seconds;
    triples += record.triples_per_second * record.seconds;
    ++steps;
    if (is_every(config_.log_every, state.step) || state.step == last_step()) {
      seconds += seconds_of_reading(state, record);
      record.seconds = seconds;
      record.triples_per_second = triples / seconds;
      record.steps = std::exchange(steps, 0);
      record.traffic = std::exchange(traffic, {});
      seconds = triples = 0;
      if (events_.stepped) events_.stepped(record);
    }
    state.is_validation_due = is_validated_after(state.step);
    validate_if_due(state);
    if (goes_on(state) && !stop_agreed_) save_if_due(state);  // otherwise below
  }
  tell(clock_.finish());
  if (!goes_on(state) && !events_.validate && state.step != saved_step_) {
    refuse_if_diverged(state);
    // Otherwise each validation that improves has fitted them.
    model_.fit_ridge(model_.embeddings(annealing_epoch(state)));
  }
  save(state, /*is_best=*/false, /*is_last=*/true);
  finish_save();
  if (stop_agreed_) return TrainingEnd::interrupted;
  return is_out_of_patience(state) ? TrainingEnd::early_stopped : TrainingEnd::finished;
}

}  // namespace micrec
