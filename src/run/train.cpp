#include "run/train.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/description.h"
#include "base/error.h"
#include "base/parallel.h"
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
#include "model/item_regression/recency.h"
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
#include "train/plan/run_planner.h"
#include "train/run_start.h"
#include "train/trainer.h"

namespace micrec {
namespace {

ModelConfig resolved_model(const RunConfig& config, const DatasetFile& dataset) {
  ModelConfig model = config.model;
  model.modalities = resolve_modalities(model.modalities, dataset);
  return resolve(model, static_cast<int>(dataset.domains().size()));
}

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
void look_ahead(const RunConfig& config, const DatasetFile& dataset, const NodeSpace& space,
                const ModelConfig& model, Job& job) {
  Communicator& world = job.communicator();
  // Hours of training are not given to a dataset with a turned bit in it.
  attempt_together(world, "dataset.verify", [&] {
    if (job.rank() == 0) dataset.verify();
  });
  const bool fits = model.item_regression != ItemRegressionUse::off &&
                    !is_there(coefficient_file_of(config.run_dir));
  preflight({.run_dir = config.run_dir,
             .commit = config.training.commit,
             .checkpoint_bytes = most_checkpoint_bytes(space.nodes(), model.dim),
             .coefficient_bytes = fits ? most_coefficient_bytes(space.items()) : 0,
             .dataset_fingerprint = dataset.fingerprint(),
             .device = c10::DeviceTypeName(job.device().type(), /*lower_case=*/true),
             .ranks_of_machine = job.ranks_of_machine()},
            world);
}

/// Gives the model the values that the run begins with, or goes on from. Ranks: collective.
RunStart begin_or_resume(const RunConfig& config, const DatasetFile& dataset,
                         const CheckpointStore& checkpoints, Model& model, Optimizer& optimizer,
                         Job& job) {
  const auto begin_anew = [&] {
    if (!config.init_from.empty()) {
      return begin_from(config.init_from, dataset, model, optimizer, job.log_once());
    }
    model.initialise();
    return RunStart{};
  };
  if (!config.resume) return begin_anew();
  if (!is_before_first_checkpoint(config.run_dir, job)) {
    return resume(config.settings, dataset, checkpoints, model, optimizer, job.log_once());
  }
  job.log_once() << "resumed   from the beginning, as the run had ended before its first "
                    "checkpoint, with the settings of its config.txt\n";
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
  return bound_of_bytes(*plan.step, model.shard().grid, semantic);
}

/// What checkpoints say of their run; the settings are those of its config.txt.
CheckpointInfo description_of(const RunConfig& config, const RunStart& start,
                              const DatasetFile& dataset, const ProcessGrid& grid) {
  CheckpointInfo info;
  info.config = start.history + config.flagfile;
  info.dataset_path = config.dataset;
  info.dataset_fingerprint = dataset.fingerprint();
  info.grid = to_text(grid);
  info.item_regression = start.item_regression;
  return info;
}

double learning_rate_in(const RunConfig& config, const SamplingConfig& sampling) {
  return learning_rate_of(config.learning_rate, config.sampling.batch_size == 0,
                          sampling.batch_size);
}

/// The training configuration within the time that is left after `passed` seconds of this process.
TrainingConfig within_time_left(TrainingConfig training, double passed, Job& job) {
  if (training.time_limit_seconds > 0) {
    training.time_limit_seconds = std::max(training.time_limit_seconds - passed, 1e-9);
  }
  const std::optional<double> left = seconds_until_job_ends();
  if (!left) return training;
  job.log_once() << "time      the job ends in " << in_time(*left)
                 << "; the run saves and stops before\n";
  if (training.time_limit_seconds <= 0 || *left < training.time_limit_seconds) {
    training.time_limit_seconds = std::max(*left, 1e-9);
  }
  return training;
}

/// Whether a run may have recency.
bool may_fade(const ItemRegressionWish& wish, const DatasetFile& dataset) {
  const bool is_off = !wish.half_life.empty() && !has_recency(wish.half_life);
  return !is_off && std::ranges::any_of(dataset.domains(), &DomainInfo::has_timestamps);
}

/// The validation of a model that is trained. Errors: Error(usage) where --regression_weight fits
/// neither one nor all domains.
Validation validation_of(const RunConfig& config, const DatasetFile& dataset, const Model& model,
                         Job& job) {
  const Shard& shard = model.shard();
  std::optional<std::vector<double>> weights;
  if (model.item_regression().is_on()) {
    weights = config.regression_weight;
    check_one_a_domain(*weights, shard.space().domains(), "regression_weight");
    if (weights->size() == 1) weights->resize(dataset.domains().size(), weights->front());
  }
  return {{dataset, shard.space(), shard.whole, job.rank()},
          {.k = config.k,
           .ages = may_fade(config.item_regression, dataset),
           .most_users = config.validate_users,
           .sample_seed = config.seed},
          weights};
}

/// What a run is to send for a fit, where it may be held to that. `graph`: as RunPlan has it.
std::optional<FitPlan> plan_fit_of(const RunConfig& config, const DatasetFile& dataset,
                                   const std::vector<std::string>& modalities, const Shard& shard,
                                   std::optional<Adjacency> graph) {
  if (!graph) return std::nullopt;
  return plan_fit(dataset, *shard.summary, *graph, shard.whole,
                  {modalities, config.seed, config.model.neighbor_search,
                   solves_of_fit(config.item_regression, shard.space().domains(),
                                 static_cast<int>(modalities.size()), has_validation(dataset))});
}

/// The run's item coefficients, fitted now or read. `graph`: as RunPlan has it. Ranks: collective.
std::optional<StoredFile> item_regression_of(const RunConfig& config, const DatasetFile& dataset,
                                             const RunStart& start, const Validation& validation,
                                             std::optional<Adjacency> graph, Model& model,
                                             RunLogs& logs, Job& job) {
  std::optional<FitPlan> plan;
  ItemRegressionRun run = {
      .run_dir = config.run_dir,
      .of_checkpoint = start.item_regression,
      .resume = config.resume,
      .modalities = resolve_modalities(config.model.modalities, dataset),
      .seed = config.seed,
      .neighbor_search = config.model.neighbor_search,
      .wish = config.item_regression,
      .rate = {},
      .agree_to_stop = [&job] { return job.agree_to_stop("item_regression.stop"); },
      .begins =
          [&] {
            plan = plan_fit_of(config, dataset, run.modalities, model.shard(), std::move(graph));
          },
      .fitted = [&](double seconds,
                    const LedgerEntries& sent) { logs.fitted(seconds, sent, plan); }};
  if (has_validation(dataset)) {
    run.rate = [&](const SparseRows& coefficients, std::span<const double> half_life) {
      const Shard& shard = model.shard();
      return validation.rate_alone(coefficients, half_life,
                                   static_cast<std::int64_t>(shard.whole_nodes.size()),
                                   shard.device, *shard.world);
    };
  }
  return provide_item_regression(run, dataset, model, job.log_once());
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
TrainingEvents events_of(Job& job, RunLock* lock, Model& model, Validation& validation,
                         bool validates, RunLogs& logs, std::int64_t steps_per_epoch) {
  Communicator& world = job.communicator();
  TrainingEvents events;
  events.stepped = [lock, &logs](const StepRecord& record) {
    if (lock != nullptr) lock->check();
    logs.stepped(record);
  };
  if (validates) {
    events.validate = [&](const TrainingState&, const at::Tensor& z) {
      const double metric = validation(terms_of(model, z), world);
      take_weights(validation, model);
      return metric;
    };
    events.weigh_best = [&](const at::Tensor& z) {
      validation.weigh_result(terms_of(model, z), world);
      take_weights(validation, model);
    };
    events.validated = [&validation, steps_per_epoch, &logs](const TrainingState& state,
                                                             double metric, bool improved) {
      logs.validated(epoch_of_last_step(state.step, steps_per_epoch), state,
                     {metric, validation.margin()}, improved, validation.last_json(),
                     validation.by_domain());
    };
  } else {
    events.weigh = [&](const at::Tensor& z) {
      validation.weigh_without(terms_of(model, z), world);
      take_weights(validation, model);
    };
  }
  events.saved = [&logs](const SavedCheckpoint& saved) { logs.metrics.save(saved); };
  events.profiled = [&logs](const StepProfile& profile) { logs.metrics.profile(profile); };
  events.save_step = [lock, death = death_from_environment(job.rank())](SaveStep step) {
    // Before all that changes what is in the folder, to the removal of old checkpoints.
    const bool is_gate = step == SaveStep::begun || step >= SaveStep::manifest_written;
    if (lock != nullptr && is_gate) lock->check();
    if (death) death(step);
  };
  events.stop_requested = [&job] { return job.stop_requested(); };
  return events;
}

/// The run's result, its best checkpoint, as `micrec evaluate` opens it. Ranks: collective.
std::unique_ptr<TrainedRun> open_result(const RunConfig& config, const ModelConfig& model,
                                        Job& job) {
  TrainedRunOptions options;
  options.run_dir = config.run_dir;
  options.dataset = config.dataset;
  options.read_settings = [&](auto&, auto&) { return model; };
  options.report = &job.log_once();
  options.device = job.device();
  return open_trained_run(options, job.communicator());
}

/// Evaluates the run's result on the test split as `micrec evaluate` does and tells it; nothing
/// where the data set has no test interactions. Where validation had a sample of the users, it is
/// evaluated on the validation split of all of them first. Ranks: collective.
void test(const RunConfig& config, const ModelConfig& model, RunLogs& logs, Job& job) {
  const std::unique_ptr<TrainedRun> run = open_result(config, model, job);
  if (config.validate_users > 0) {
    if (const auto of_all = evaluate_run(*run, Split::valid, config.k, config.test_users)) {
      const Report& report = of_all->report;
      logs.metrics.result("validation_of_all", run->info.step, report.to_json());
      job.log_once() << "validation of " << (report.is_of_sample() ? "--test_users" : "all users")
                     << ", " << report.checkpoint << ": ndcg@20 "
                     << decimal("%.4f", report.mean(Metric::ndcg, kValidationCutoff)) << "\n";
    }
  }
  const std::optional<RunEvaluation> evaluation =
      evaluate_run(*run, Split::test, config.k, config.test_users);
  if (!evaluation) return;
  const Report& report = evaluation->report;
  logs.metrics.result("test", run->info.step, report.to_json());
  job.log_once() << "test of " << report.checkpoint << "\n" << report.to_table();
}

/// Where a run is computed, and with what, as its log tells it.
nlohmann::ordered_json facts_of(const RunConfig& config, const DatasetFile& dataset,
                                const ProcessGrid& grid, Job& job) {
  nlohmann::ordered_json facts = {
      {"ranks", job.world_size()},
      {"threads", compute_threads()},
      {"device", c10::DeviceTypeName(job.device().type(), /*lower_case=*/true)},
      {"grid", to_text(grid)},
      {"dataset", dataset_facts(dataset)}};
  for (const auto& [name, version] : config.versions) facts["versions"][name] = version;
  return facts;
}

/// A run and how its training ended, without what the training took.
struct TrainedSoFar {
  std::unique_ptr<RunLogs> logs;
  std::optional<ReportAtEnd> report;  // of rank 0
  TrainingState state;
  TrainingEnd end = TrainingEnd::finished;
};

void end_log(const TrainedSoFar& run, const char* reason, RunClock& clock) {
  run.logs->metrics.end(run.state.step, reason, clock.seconds(), clock.take_phases());
}

/// Trains to the run's end and tells how that went. Ranks: collective.
void train_to_end(const RunConfig& config, Trainer& trainer, const Validation& validation,
                  TrainedSoFar& run, RunClock& clock, Job& job) {
  if (job.rank() == 0) run.report.emplace(config.run_dir, config.settings);
  try {
    run.end = trainer.run(run.state);
  } catch (const Error& error) {
    if (error.cause() == Cause::diverged) end_log(run, "diverged", clock);
    throw;
  }
  clock.phase_ended("training, with validation and saving");
  job.log_once() << run.logs->end_training();
  for (const std::string& of_domain : validation.weights_in_words()) {
    job.log_once() << "last weighed " << of_domain << "\n";
  }
}

/// Tests the result of a run that was not interrupted, and tells how the run ended. Ranks:
/// collective.
int end_run(const RunConfig& config, const ModelConfig& model, const TrainedSoFar& run,
            RunClock& clock, Job& job) {
  const std::int64_t step = run.state.step;
  if (run.end == TrainingEnd::interrupted) {
    end_log(run, "interrupted", clock);
    job.log_once() << "stopped after step " << step
                   << " and saved; go on with: micrec train --run_dir=" << config.run_dir
                   << " --resume\n"
                   << std::flush;
    return kExitStopped;
  }
  test(config, model, *run.logs, job);
  clock.phase_ended("test");
  const char* reason = run.end == TrainingEnd::early_stopped ? "no improvement" : "finished";
  end_log(run, reason, clock);
  job.log_once() << reason << " after step " << step << " in " << in_time(clock.seconds())
                 << "; at most " << in_bytes(peak_memory_bytes()) << " of memory on rank 0\n"
                 << std::flush;
  return 0;
}

/// Reads, shares out and trains. What that took is free again when it returns, so that the result,
/// which is opened as any run is, needs no memory beside it. Ranks: collective.
void read_and_train(const RunConfig& config, const DatasetFile& dataset,
                    const DatasetSummary& summary, const ModelConfig& model_config,
                    const SamplingConfig& sampling, RunPlan plan, RunLock* lock, TrainedSoFar& run,
                    RunClock& clock, Job& job) {
  Communicator& world = job.communicator();
  const GridGroups groups = split_world(world, plan.layout.grid);
  Shard shard = load_shard(dataset, summary, std::move(plan.layout), Observed::training, groups);
  move_to(shard, job.device());
  if (!model_config.is_solved() && model_config.layers > 0) {
    store_for_sums(shard, columns_of(shard.grid, model_config.dim, shard.column_part()).size());
  }
  print_halo(job.log_once(), shard);
  Model model(model_config, dataset, shard, config.seed);
  print_searches(job.log_once(), model);
  Optimizer optimizer(model, config.training.adam);
  EpochSampler sampler(summary.space,
                       read_training_share(dataset, summary.space, shard.ownership, shard.rank()),
                       eligible_items(dataset, summary.space), sampling);
  Validation validation = validation_of(config, dataset, model, job);
  run.logs = std::make_unique<RunLogs>(world, bound_of(plan, model));
  RunLogs& logs = *run.logs;

  CheckpointStore checkpoints(checkpoints_of(config.run_dir), world);
  RunStart start = begin_or_resume(config, dataset, checkpoints, model, optimizer, job);
  refuse_passed_end(config.training, start.state.step, sampler.steps_per_epoch());
  clock.phase_ended("reading and sharing out");
  start.item_regression = item_regression_of(config, dataset, start, validation,
                                             std::move(plan.graph), model, logs, job);
  if (model.item_regression().is_on()) clock.phase_ended("item regression");
  const CheckpointInfo description = description_of(config, start, dataset, shard.grid);
  write_config(config.run_dir, description.config, world);
  job.log_once() << "loaded    in " << in_time(clock.seconds()) << "\n" << std::flush;
  const bool validates = has_validation(dataset);
  if (!validates) {
    job.log_once() << "the data set has no validation interactions: no early stopping, the last "
                      "checkpoint is the result\n";
    if (config.validate_users > 0)
      job.log_once() << "--validate_users has no effect without them\n";
  }

  TrainingConfig training = within_time_left(config.training, clock.seconds(), job);
  training.adam.learning_rate = learning_rate_in(config, sampling);
  Trainer trainer(
      training, model, optimizer, sampler, checkpoints, description,
      events_of(job, lock, model, validation, validates, logs, sampler.steps_per_epoch()));
  run.state = start.state;
  logs.open(config.run_dir, run.state, trainer, "ndcg@20");
  logs.started(run.state.step, facts_of(config, dataset, shard.grid, job), clock);
  if (!start.checkpoint.empty()) {
    logs.metrics.resume(run.state.step, start.checkpoint, start.changes);
  }
  train_to_end(config, trainer, validation, run, clock, job);
}

/// train() but for a stop before the first step. Ranks: collective.
int train_from_start(const RunConfig& config, Job& job) {
  if (config.sharing.reproducible && !job.device().is_cpu()) {
    throw Error(Cause::usage,
                "--reproducible needs sums in a fixed order that only CPUs keep; use --device=cpu");
  }
  RunClock clock;
  Communicator& world = job.communicator();
  const DatasetFile dataset = DatasetFile::open(config.dataset);
  const DatasetSummary summary = summarise(dataset);
  const ModelConfig model_config = resolved_model(config, dataset);
  const SamplingConfig sampling = sampling_of(model_config, summary, config.sampling);

  RunPlan plan = plan_run(sharing_of(config, job.world_size()), dataset, summary, model_config,
                          resolve_modalities(config.model.modalities, dataset), sampling, world);
  for (const std::string& idle : config.idle) job.log_once() << idle << "\n";
  print_run(job.log_once(), dataset, summary, model_config, config.sharing.partition, plan.layout);
  if (config.sampling.batch_size == 0 && !model_config.is_solved()) {
    job.log_once() << "batch     " << with_commas(sampling.batch_size) << " triples, at most "
                   << kStepsOfEpoch << " steps an epoch, learning rate "
                   << decimal("%.2g", learning_rate_in(config, sampling)) << "\n";
  }
  if (config.dry_run) return 0;

  const HeldFolder held = hold_folder(config.run_dir, job);
  if (held.stopped) {
    job.log_once() << "stopped while another run had " << config.run_dir
                   << "; nothing was trained\n"
                   << std::flush;
    return kExitStopped;
  }
  begin_folder(config, job);
  look_ahead(config, dataset, summary.space, model_config, job);

  TrainedSoFar run;
  read_and_train(config, dataset, summary, model_config, sampling, std::move(plan), held.lock.get(),
                 run, clock, job);
  return end_run(config, model_config, run, clock, job);
}

}  // namespace

int train(const RunConfig& config, Job& job) {
  try {
    return train_from_start(config, job);
  } catch (const StoppedWhileFitting&) {
    job.log_once() << "stopped while item regression was fitted; nothing is lost but that: begin "
                      "again with: micrec train --run_dir="
                   << config.run_dir << " --resume\n"
                   << std::flush;
    return kExitStopped;
  }
}

}  // namespace micrec
