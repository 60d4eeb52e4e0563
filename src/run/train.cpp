#include "run/train.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/description.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/stopped.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/preflight.h"
#include "checkpoints/run_folder.h"
#include "checkpoints/store.h"
#include "cluster/agreement.h"
#include "cluster/launch_environment.h"
#include "data/batches.h"
#include "evaluate/validation.h"
#include "io/paths.h"
#include "model/model.h"
#include "model/step/shard.h"
#include "run/injected_faults.h"
#include "run/run_report.h"
#include "serve/evaluation.h"
#include "serve/trained_run.h"
#include "train/item_regression_run.h"
#include "train/log/run_logs.h"
#include "train/optimizer.h"
#include "train/plan/plan_report.h"
#include "train/run_start.h"
#include "train/semantic_neighbours_run.h"
#include "train/trainer.h"
#include "train/training_task.h"

namespace micrec {
namespace {

/// A run: what was asked for, what that means on its data set, and how far it has come.
struct Run {
  const RunConfig& config;
  Job& job;
  RunClock clock = {};
  const TrainingTask task = {config.dataset, config.model, config.sampling, config.item_regression,
                             config.seed};
  HeldFolder held = {};
  std::optional<RunLogs> logs = {};        // once training begins
  std::optional<ReportAtEnd> report = {};  // likewise, of rank 0
  TrainingState state = {};
  TrainingEnd end = TrainingEnd::finished;
  double time_limit = HUGE_VAL;      // of the clock's seconds
  const Trainer* trainer = nullptr;  // while it trains

  Communicator& world() const { return job.communicator(); }
  /// Whether this process is to stop, by a signal or as its time is up. Ranks: local.
  bool is_asked_to_stop() const {
    constexpr double kToEnd = 1;  // second, where nothing has to be saved
    if (trainer != nullptr) return trainer->is_asked_to_stop();
    return job.stop_requested() || clock.seconds() + kToEnd >= time_limit;
  }
};

/// A resumed run keeps its grid unless it has other ranks.
GridWish sharing_of(const RunConfig& config, int ranks) {
  GridWish wish = config.sharing;
  if (!config.grid_of_old_run) return wish;
  const std::optional<ProcessGrid> old = read_grid(wish.grid);
  if (old && old->ranks() != ranks) wish.grid = "auto";
  return wish;
}

/// Takes the run's folder for this run alone. Ranks: collective.
HeldFolder hold_folder(const std::string& run_dir, Job& job) {
  return hold_run_folder(run_dir, holder_of_this_run(), job.communicator(),
                         {.agree_to_stop = [&] { return job.agree_to_stop("run_folder.stop"); },
                          .announce =
                              [&](const std::string& holder) {
                                job.log_once() << "waiting   for " << run_dir
                                               << ", which another run has: " << holder << "\n"
                                               << std::flush;
                              }});
}

/// Whether a run that is to be resumed has no checkpoint yet, as rank 0 sees it. Ranks: collective.
bool is_before_first_checkpoint(const std::string& run_dir, Job& job) {
  Communicator& world = job.communicator();
  bool is_before = false;
  attempt_together(world, "run_folder.settings", [&] {
    if (job.rank() != 0) return;
    is_before = settings_before_first_checkpoint(run_dir).has_value();
  });
  return on_any_rank(world, "run_folder.before_first_checkpoint", is_before);
}

/// Takes an empty run folder for a new run. Its settings are there before any long work begins, so
/// that --resume can begin it again whenever it ends. Ranks: collective.
void begin_folder(const RunConfig& config, Job& job) {
  if (config.resume) return;
  Communicator& world = job.communicator();
  attempt_together(world, "run_folder.old_run", [&] {
    if (job.rank() == 0) refuse_old_run(config.run_dir);
  });
  write_config(config.run_dir, config.flagfile, world);
}

/// Looks for what would end the run after hours, or make them worthless. Ranks: collective.
void look_ahead(const Run& run) {
  const RunConfig& config = run.config;
  const ModelConfig& model = run.task.model;
  const NodeSpace& space = run.task.summary.space;
  // Hours of training are not given to a dataset with a turned bit in it.
  attempt_together(run.world(), "dataset.verify", [&] {
    if (run.job.rank() == 0) run.task.dataset.verify();
  });
  const bool fits = model.item_regression != ItemRegressionUse::off &&
                    !is_there(coefficient_file_of(config.run_dir));
  preflight({.run_dir = config.run_dir,
             .commit = config.training.commit,
             .checkpoint_bytes = most_checkpoint_bytes(space.nodes(), model.dim),
             .coefficient_bytes = (fits ? most_coefficient_bytes(space.items()) : 0) +
                                  most_neighbour_bytes(config.run_dir, model, space.items()),
             .dataset_fingerprint = run.task.dataset.fingerprint(),
             .device = c10::DeviceTypeName(run.job.device().type(), /*lower_case=*/true),
             .ranks_of_machine = run.job.ranks_of_machine()},
            run.world());
}

/// Gives the model the values that the run begins with, or goes on from. Ranks: collective.
RunStart begin_or_resume(const Run& run, const CheckpointStore& checkpoints, Model& model,
                         Optimizer& optimizer) {
  const RunConfig& config = run.config;
  const DatasetFile& dataset = run.task.dataset;
  std::ostream& log = run.job.log_once();
  const auto begin_anew = [&] {
    if (!config.init_from.empty()) {
      return begin_from(config.init_from, dataset, model, optimizer, log);
    }
    model.initialise();
    return RunStart{};
  };
  if (!config.resume) return begin_anew();
  if (!is_before_first_checkpoint(config.run_dir, run.job)) {
    return resume(config.settings, dataset, checkpoints, model, optimizer, log);
  }
  log << "resumed   from the beginning, as the run had ended before its first checkpoint, with the "
         "settings of its config.txt\n";
  return begin_anew();
}

/// Errors   Error(usage) where a resumed run is beyond its last step.
void refuse_passed_end(const TrainingConfig& training, std::int64_t step,
                       std::int64_t steps_per_epoch) {
  const bool by_steps = training.max_steps > 0 && training.max_steps < step;
  if (!by_steps && training.epochs * steps_per_epoch >= step) return;
  throw Error(Cause::usage, by_steps ? "--max_steps=" : "--epochs=",
              by_steps ? training.max_steps : training.epochs, ": the run is at step ",
              with_commas(step),
              " already; give a later end, or leave --resume out and begin another run");
}

/// What must travel in a step, by collective; empty on all ranks but 0. Ranks: collective.
std::map<std::string, double> bound_of(RunPlan& plan, const Model& model) {
  if (model.shard().world->size() == 1 || model.shard().reproducible) return {};
  const std::vector<SemanticHalo> semantic = model.semantic_halos();
  if (!plan.step) return {};
  plan.step->shape.on_gpu = !model.shard().device.is_cpu();
  return bytes_by_name(
      plan_bytes(plan.step->shape, model.shard().grid, plan.step->needs, semantic));
}

/// What checkpoints say of their run; the settings are those of its config.txt.
CheckpointInfo description_of(const Run& run, const RunStart& start, const ProcessGrid& grid) {
  CheckpointInfo info;
  info.config = start.history + run.config.flagfile;
  info.dataset_path = run.config.dataset;
  info.dataset_fingerprint = run.task.dataset.fingerprint();
  info.grid = to_text(grid);
  info.item_regression = start.item_regression;
  return info;
}

/// When the run has to have ended, by --time_limit and the job that it runs in.
double time_limit_of(const Run& run) {
  double limit = HUGE_VAL;
  if (run.config.time_limit_minutes > 0) limit = 60 * run.config.time_limit_minutes;
  const std::optional<double> left = seconds_until_job_ends();
  if (!left) return limit;
  std::ostream& log = run.job.log_once();
  if (*left > 0) {
    log << "time      the job ends in " << in_time(*left) << "; the run saves and stops before\n";
  } else {
    log << "time      the job ended " << in_time(-*left)
        << " ago by SLURM_JOB_END_TIME; the run saves and stops at once: unset it where that is of "
           "another job\n";
  }
  return std::min(limit, run.clock.seconds() + *left);
}

double learning_rate_in(const Run& run) {
  return learning_rate_of(run.config.training.learning_rate, run.config.sampling.batch_size == 0,
                          run.task.sampling.batch_size);
}

/// The training configuration with the learning rate of the batch, within the time that is left.
TrainingConfig training_of(const Run& run) {
  constexpr double kLeast = 1e-9;  // seconds; 0 would be without a limit
  TrainingConfig training = run.config.training;
  training.learning_rate = learning_rate_in(run);
  if (run.time_limit < HUGE_VAL) {
    training.time_limit_seconds = std::max(run.time_limit - run.clock.seconds(), kLeast);
  }
  return training;
}

/// Whether a run may have recency.
bool may_fade(const TrainingTask& task) {
  const std::vector<double>& half_life = task.item_regression.half_life;
  const bool is_off = !half_life.empty() && !has_recency(half_life);
  return !is_off && std::ranges::any_of(task.dataset.domains(), &DomainInfo::has_timestamps);
}

/// The validation of a model that is trained. Errors: Error(usage) where --regression_weight fits
/// neither one nor all domains.
Validation validation_of(const Run& run, const Model& model) {
  const Shard& shard = model.shard();
  std::optional<std::vector<double>> weights;
  if (model.item_regression().is_on()) {
    weights = run.config.regression_weight;
    check_one_a_domain(*weights, shard.space().domains(), "regression_weight");
    if (weights->size() == 1) weights->resize(shard.space().domains(), weights->front());
  }
  return {{run.task.dataset, shard.space(), shard.whole, run.job.rank()},
          {.k = run.config.k,
           .ages = may_fade(run.task),
           .most_users = run.config.validate_users,
           .sample_seed = run.config.seed,
           .is_asked_to_stop = [&run] { return run.is_asked_to_stop(); }},
          weights};
}

/// Gives the model the run's item coefficients, fitted now or read, and has the start name their
/// file. `graph`: as RunPlan has it. Returns what a fit took. Ranks: collective.
std::optional<FittedRegression> add_item_regression(Run& run, RunStart& start,
                                                    const Validation& validation,
                                                    std::optional<Adjacency> graph, Model& model) {
  RateCoefficients rate;
  if (run.task.has_validation()) {
    rate = [&](const SparseRows& coefficients, std::span<const double> half_life) {
      const Shard& shard = model.shard();
      return validation.rate_alone(coefficients, half_life, std::ssize(shard.whole_nodes),
                                   shard.device, *shard.world);
    };
  }
  ProvidedItemRegression provided = provide_item_regression(
      {.run_dir = run.config.run_dir,
       .resume = run.config.resume,
       .of_checkpoint = start.item_regression,
       .rate = rate,
       .agree_to_stop =
           [&run] {
             return on_any_rank(run.world(), "item_regression.stop", run.is_asked_to_stop());
           },
       .graph = std::move(graph)},
      run.task, model, run.job.log_once());
  if (model.item_regression().is_on()) run.clock.phase_ended("item regression");
  start.item_regression = std::move(provided.file);
  return std::move(provided.fit);
}

/// What the scores of a model are made from now. `z`: (whole rows, dim).
ScoreTerms terms_of(const Model& model, const at::Tensor& z) {
  const ItemRegression& regression = model.item_regression();
  return {z, regression.is_on() ? &regression.coefficients() : nullptr, regression.half_life()};
}

/// Has the model score with the weights that its last validation found.
void take_weights(const Validation& validation, Model& model) {
  if (model.item_regression().is_on()) model.item_regression().set_mixes(validation.mixes());
}

/// What happens beside the steps. All arguments outlive the events.
TrainingEvents events_of(Run& run, Model& model, Validation& validation,
                         std::int64_t steps_per_epoch) {
  RunLock* const lock = run.held.lock.get();
  Communicator& world = run.world();
  TrainingEvents events;
  events.stepped = [lock, &run](const StepRecord& record) {
    if (lock != nullptr) lock->check();
    run.logs->stepped(record);
  };
  if (run.task.has_validation()) {
    events.validate = [&](const TrainingState&, const at::Tensor& z) {
      const double metric = validation(terms_of(model, z), world);
      take_weights(validation, model);
      return metric;
    };
    events.weigh_best = [&](const at::Tensor& z) {
      validation.weigh_result(terms_of(model, z), world);
      take_weights(validation, model);
    };
    events.validated = [&validation, steps_per_epoch, &run](const TrainingState& state,
                                                            double metric, bool improved) {
      run.logs->validated(epoch_of_last_step(state.step, steps_per_epoch), state,
                          {metric, validation.margin()}, improved, validation.last_json(),
                          validation.by_domain());
    };
  } else {
    events.weigh = [&](const at::Tensor& z) {
      validation.weigh_without(terms_of(model, z), world);
      take_weights(validation, model);
    };
  }
  events.saved = [&run](const SavedCheckpoint& saved) { run.logs->metrics.save(saved); };
  events.profiled = [&run](const StepProfile& profile) { run.logs->metrics.profile(profile); };
  events.save_step = [lock, signals = signals_from_environment(run.job.rank())](SaveStep step) {
    // Before all that changes what is in the folder, to the removal of old checkpoints.
    const bool is_gate = step == SaveStep::begun || step >= SaveStep::manifest_written;
    if (lock != nullptr && is_gate) lock->check();
    if (signals) signals(step);
  };
  events.stop_requested = [&job = run.job] { return job.stop_requested(); };
  return events;
}

/// The run's result, its best checkpoint, as `micrec evaluate` opens it. Ranks: collective.
std::unique_ptr<TrainedRun> open_result(const Run& run) {
  TrainedRunOptions options;
  options.run_dir = run.config.run_dir;
  options.dataset = run.config.dataset;
  options.read_settings = [&](auto&, auto&) { return run.task.model; };
  options.report = &run.job.log_once();
  options.device = run.job.device();
  return open_trained_run(options, run.world());
}

/// Evaluates the run's result on the test split as `micrec evaluate` does and tells it; nothing
/// where the data set has no test interactions. Where validation had a sample of the users, it is
/// evaluated on the validation split of all of them first. Ranks: collective. Errors: Stopped.
void test(Run& run) {
  const RunConfig& config = run.config;
  const auto stop = [&run] { return run.is_asked_to_stop(); };
  MetricsLog& metrics = run.logs->metrics;
  const std::unique_ptr<TrainedRun> result = open_result(run);
  if (config.validate_users > 0) {
    if (const auto of_all =
            evaluate_run(*result, Split::valid, config.k, config.test_users, stop)) {
      const Report& report = of_all->report;
      metrics.result("validation_of_all", result->info.step, report.to_json());
      run.job.log_once() << "validation of "
                         << (report.is_of_sample() ? "--test_users" : "all users") << ", "
                         << report.checkpoint << ": ndcg@20 "
                         << decimal("%.4f", report.mean(Metric::ndcg, kValidationCutoff)) << "\n";
    }
  }
  const std::optional<RunEvaluation> evaluation =
      evaluate_run(*result, Split::test, config.k, config.test_users, stop);
  if (!evaluation) return;
  const Report& report = evaluation->report;
  metrics.result("test", result->info.step, report.to_json());
  run.job.log_once() << "test of " << report.checkpoint << "\n" << report.to_table();
}

/// Where a run is computed, and with what, as its log tells it.
nlohmann::ordered_json facts_of(const Run& run, const ProcessGrid& grid) {
  nlohmann::ordered_json facts = {
      {"ranks", run.job.world_size()},
      {"threads", compute_threads()},
      {"device", c10::DeviceTypeName(run.job.device().type(), /*lower_case=*/true)},
      {"grid", to_text(grid)},
      {"dataset", dataset_facts(run.task.dataset)}};
  for (const auto& [name, version] : run.config.versions) facts["versions"][name] = version;
  return facts;
}

/// Opens the logs of a run that is loaded, and tells how it begins. Ranks: collective.
void open_logs(Run& run, const RunStart& start, const Trainer& trainer, const ProcessGrid& grid,
               std::map<std::string, double> bound_bytes,
               const std::optional<FittedRegression>& fit) {
  ProgressGoal goal{.first_step = run.state.step,
                    .last_step = trainer.last_step(),
                    .steps_per_epoch = trainer.steps_per_epoch(),
                    .metric = "ndcg@20",
                    .best_metric = std::nullopt,
                    .best_step = run.state.best_step};
  if (goal.best_step > 0) goal.best_metric = run.state.best_metric;
  MetricsLog& metrics = run.logs
                            .emplace(run.world(), run.config.run_dir, goal, std::move(bound_bytes),
                                     run.state.is_validation_due)
                            .metrics;
  metrics.start(run.state.step, facts_of(run, grid), run.clock.take_phases());
  if (fit) metrics.fit(run.state.step, *fit);
  if (!start.checkpoint.empty()) {
    metrics.resume(run.state.step, start.checkpoint, start.changes);
  }
}

void end_log(Run& run, const char* reason) {
  run.logs->metrics.end(run.state.step, reason, run.clock.seconds(), run.clock.take_phases());
}

/// Trains to the run's end and tells how that went. Ranks: collective.
void train_to_end(Run& run, Trainer& trainer, const Validation& validation) {
  if (run.job.rank() == 0) run.report.emplace(run.config.run_dir, run.config.settings);
  run.trainer = &trainer;
  try {
    run.end = trainer.run(run.state);
  } catch (const Error& error) {
    if (error.cause() == Cause::diverged) end_log(run, "diverged");
    throw;
  }
  run.trainer = nullptr;
  run.clock.phase_ended("training, with validation and saving");
  run.job.log_once() << run.logs->end_training();
  for (const std::string& of_domain : validation.weights_in_words()) {
    run.job.log_once() << "last weighed " << of_domain << "\n";
  }
}

/// Tests the result of a run that was not interrupted, and tells how the run ended. Ranks:
/// collective.
int end_run(Run& run) {
  std::ostream& log = run.job.log_once();
  const std::int64_t step = run.state.step;
  const auto stopped = [&](const char* where) {
    end_log(run, "interrupted");
    log << "stopped after step " << step << " and saved" << where
        << "; go on with: micrec train --run_dir=" << run.config.run_dir << " --resume\n"
        << std::flush;
    return kExitStopped;
  };
  if (run.end == TrainingEnd::interrupted) return stopped("");
  try {
    test(run);
  } catch (const Stopped&) {
    return stopped(", in the evaluation of the result");
  }
  run.clock.phase_ended("test");
  const char* reason = run.end == TrainingEnd::early_stopped ? "no improvement" : "finished";
  end_log(run, reason);
  log << reason << " after step " << step << " in " << in_time(run.clock.seconds()) << "; at most "
      << in_bytes(peak_memory_bytes()) << " of memory on rank 0\n"
      << std::flush;
  return 0;
}

/// Reads, shares out and trains. What that took is free again when it returns, so that the result,
/// which is opened as any run is, needs no memory beside it. Ranks: collective.
void read_and_train(Run& run, RunPlan plan) {
  Communicator& world = run.world();
  std::ostream& log = run.job.log_once();
  const RunConfig& config = run.config;
  const TrainingTask& task = run.task;
  const NodeSpace& space = task.summary.space;
  const GridGroups groups = split_world(world, plan.layout.grid);
  Shard shard =
      load_shard(task.dataset, task.summary, std::move(plan.layout), Observed::training, groups);
  move_to(shard, run.job.device());
  if (!task.model.is_solved() && task.model.layers > 0) {
    store_for_sums(shard, columns_of(shard.grid, task.model.dim, shard.column_part()).size());
  }
  print_halo(log, shard);
  const NeighbourFiles files{.run_dir = config.run_dir,
                             .dataset_fingerprint = task.dataset.fingerprint()};
  std::vector<SemanticLists> semantic =
      provide_semantic_neighbours(files, task.model, task.dataset, shard, &log);
  Model model(task.model, task.dataset, shard, task.seed, semantic);
  print_searches(log, model);
  Optimizer optimizer(model);
  EpochSampler sampler(space,
                       read_training_share(task.dataset, space, shard.ownership, shard.rank()),
                       eligible_items(task.dataset, space), task.sampling);
  Validation validation = validation_of(run, model);
  std::map<std::string, double> bound_bytes = bound_of(plan, model);

  CheckpointStore checkpoints(checkpoints_of(config.run_dir), world);
  RunStart start = begin_or_resume(run, checkpoints, model, optimizer);
  refuse_passed_end(config.training, start.state.step, sampler.steps_per_epoch());
  keep_semantic_neighbours(files, task.model, semantic, shard);
  semantic.clear();
  run.clock.phase_ended("reading and sharing out");
  const std::optional<FittedRegression> fit =
      add_item_regression(run, start, validation, std::move(plan.graph), model);
  const CheckpointInfo description = description_of(run, start, shard.grid);
  write_config(config.run_dir, description.config, world);
  log << "loaded    in " << in_time(run.clock.seconds()) << "\n" << std::flush;
  if (!task.has_validation()) {
    log << "the data set has no validation interactions: no early stopping, the last checkpoint is "
           "the result\n";
    if (config.validate_users > 0) log << "--validate_users has no effect without them\n";
  }

  Trainer trainer(training_of(run), model, optimizer, sampler, checkpoints, description,
                  events_of(run, model, validation, sampler.steps_per_epoch()));
  run.state = start.state;
  open_logs(run, start, trainer, shard.grid, std::move(bound_bytes), fit);
  train_to_end(run, trainer, validation);
}

/// train() but for a stop before the first step. Ranks: collective.
int train_from_start(const RunConfig& config, Job& job) {
  if (config.sharing.reproducible && !job.device().is_cpu()) {
    throw Error(Cause::usage,
                "--reproducible needs sums in a fixed order that only CPUs keep; use --device=cpu");
  }
  Run run{config, job};
  RunPlan plan = plan_run(sharing_of(config, job.world_size()), run.task, run.world());
  std::ostream& log = job.log_once();
  for (const std::string& idle : config.idle) log << idle << "\n";
  print_run(log, run.task, config.sharing.partition, plan.layout);
  if (config.sampling.batch_size == 0 && !run.task.model.is_solved()) {
    log << "batch     " << with_commas(run.task.sampling.batch_size) << " triples, at most "
        << kStepsOfEpoch << " steps an epoch, learning rate "
        << decimal("%.2g", learning_rate_in(run)) << "\n";
  }
  if (config.dry_run) return 0;

  run.held = hold_folder(config.run_dir, job);
  if (run.held.stopped) {
    log << "stopped while another run had " << config.run_dir << "; nothing was trained\n"
        << std::flush;
    return kExitStopped;
  }
  begin_folder(config, job);
  look_ahead(run);
  run.time_limit = time_limit_of(run);
  read_and_train(run, std::move(plan));
  return end_run(run);
}

}  // namespace

int train(const RunConfig& config, Job& job) {
  try {
    return train_from_start(config, job);
  } catch (const Stopped&) {
    job.log_once() << "stopped while item regression was fitted; nothing is lost but that: begin "
                      "again, with more time where that was too short, by: micrec train --run_dir="
                   << config.run_dir << " --resume\n"
                   << std::flush;
    return kExitStopped;
  }
}

}  // namespace micrec
