#include <gflags/gflags.h>
#include <glog/logging.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/store.h"
#include "cluster/agreement.h"
#include "cluster/job.h"
#include "cluster/launch_environment.h"
#include "cluster/signals.h"
#include "data/batches.h"
#include "evaluate/evaluator.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/run_lock.h"
#include "launcher/assignment.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/death_in_tests.h"
#include "launcher/preflight.h"
#include "launcher/run_folder.h"
#include "launcher/train_flags.h"
#include "launcher/trained_run.h"
#include "model/model.h"
#include "model/shard.h"
#include "train/metrics_log.h"
#include "train/progress.h"
#include "train/tensorboard.h"
#include "train/traffic.h"
#include "train/trainer.h"

DECLARE_string(partition);
DEFINE_bool(resume, false,
            "go on with the run in --run_dir from its newest checkpoint, with its settings; --lr, "
            "--l2, --dropout and, where --lr_decay ends with it, --max_steps may be given anew, "
            "which config.txt and metrics.jsonl tell");
DEFINE_string(
    grid, "auto",
    "process grid RxC: users and items over R row parts, columns over C column parts; auto: "
    "the shortest predicted step, see micrec plan");
DEFINE_bool(reproducible, false,
            "the same bits on any grid of at most 16 row parts, by sums in one fixed order; takes "
            "about 4% of a step");
DEFINE_bool(dry_run, false, "print the plan and the configuration, and stop before training");
DEFINE_string(stop_signals, "TERM,INT,USR1,USR2",
              "signals that make the run save and end with exit code 75; a second one ends it at "
              "once");

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kValidationCutoff = 20;  // early stopping looks at NDCG@20

/// Everything that decides a run, read from the flags before any rank is joined.
struct RunConfig {
  std::string dataset;
  std::string run_dir;
  std::uint64_t seed = 0;
  bool resume = false;
  bool dry_run = false;
  std::string partition;
  std::string grid;
  bool grid_of_old_run = false;  // taken over by a resumed one, which may have other ranks
  bool reproducible = false;
  ModelConfig model;
  TrainingConfig training;
  std::vector<std::int64_t> k;
  std::string flagfile;
};

std::vector<FlagSpec> running_flags() {
  return {
      partition_flag(),
      {"grid", "Distribution", "",
       written_as("auto or RxC",
                  [](const std::string& value) {
                    return value == "auto" || read_grid(value)
                               ? std::string()
                               : "auto, or RxC with R times C the number of ranks, such as 4x2";
                  })},
      {"reproducible", "Distribution", ""},
      device_flag(),
      threads_flag(),
      seed_flag(),
      {"stop_signals", "Cluster", "signals",
       written_as("names with commas between",
                  [](const std::string& value) {
                    return parse_signals(value) ? std::string()
                                                : "some of TERM, INT, USR1, USR2, HUP, QUIT, ALRM, "
                                                  "XCPU and PWR with commas between, or nothing";
                  })},
  };
}

/// Flags of which a resumed run may be given another value, which changes what it computes from
/// there on; the run's history says so. Of --max_steps that is so where --lr_decay ends with it.
constexpr const char* kRecorded[] = {"lr", "l2", "dropout", "max_steps"};

bool is_recorded(const std::string& flag) {
  return std::find(std::begin(kRecorded), std::end(kRecorded), flag) != std::end(kRecorded);
}

/// Flags that a resumed run may be given anew; the others come from its checkpoint.
bool may_change(const std::string& flag) {
  static constexpr const char* kChangeable[] = {"dataset",
                                                "run_dir",
                                                "resume",
                                                "dry_run",
                                                "k",
                                                "epochs",
                                                "patience",
                                                "log_every",
                                                "profile_steps",
                                                "save_every_steps",
                                                "save_every_epochs",
                                                "save_every_minutes",
                                                "async_save",
                                                "commit",
                                                "keep_last",
                                                "time_limit",
                                                "partition",
                                                "grid",
                                                "device",
                                                "threads",
                                                "deadline",
                                                "check_collectives",
                                                "watchdog",
                                                "stop_signals"};
  return is_recorded(flag) ||
         std::find(std::begin(kChangeable), std::end(kChangeable), flag) != std::end(kChangeable);
}

/// Settings that the run was given on an earlier resume and ended before it saved: config.txt tells
/// them, the newest checkpoint does not.
std::vector<FlagSetting> unsaved_changes(const std::string& run_dir, const CheckpointInfo& newest) {
  const std::string path = (fs::path(run_dir) / "config.txt").string();
  std::vector<FlagSetting> unsaved;
  if (!is_there(path)) return unsaved;
  constexpr std::int64_t kMostConfigBytes = 1 << 20;
  const std::string written = read_small_file(path, kMostConfigBytes);
  const std::vector<FlagSetting> settings = parse_flagfile(written, path);
  const std::vector<std::string> saved = split(newest.config, '\n');
  for (const std::string& line : split(written, '\n')) {
    if (!line.starts_with(kHistoryLine) || std::ranges::find(saved, line) != saved.end()) continue;
    for (const FlagSetting& setting : settings) {
      const bool is_named = line.find(text(" on: --", setting.name, "=")) != std::string::npos;
      if (is_named && is_recorded(setting.name)) unsaved.push_back(setting);
    }
  }
  return unsaved;
}

void take_up_old_flags(const Arguments& arguments) {
  const Command command = train_command();
  // The ranks, once joined, verify every byte and may step back to an older one; that has the same
  // settings but for those that may change.
  const Checkpoint checkpoint = open_newest_valid(checkpoints_of(FLAGS_run_dir), Verify::sizes);
  const std::vector<FlagSetting> old =
      parse_flagfile(checkpoint.info().config, checkpoint.directory());
  std::vector<std::string> differences;
  std::vector<FlagSetting> taken;
  for (const FlagSetting& setting : old) {
    if (setting.name == "resume" || setting.name == "dry_run") continue;
    if (arguments.is_given(setting.name) && !may_change(setting.name)) {
      // Compare as the flag itself writes its value, so that 1e-3 and 0.001 are the same.
      const std::string given = flag_value(setting.name);
      set_flag(command, setting);
      if (flag_value(setting.name) != given) {
        differences.push_back(
            text("--", setting.name, "=", given, " (the run has ", flag_value(setting.name), ")"));
      }
    }
    taken.push_back(setting);
  }
  for (const FlagSetting& change : unsaved_changes(FLAGS_run_dir, checkpoint.info())) {
    for (FlagSetting& setting : taken) {
      if (setting.name == change.name) setting.value = change.value;
    }
  }
  if (!differences.empty()) {
    throw Error(Cause::usage, text("a resumed run keeps its own settings, but these differ: ",
                                   join(differences, ", "),
                                   "; leave them out, or start a new run in another --run_dir"));
  }
  set_flags_not_given(command, taken, arguments);
}

/// A new run must not begin over an old one's checkpoints.
void refuse_old_run(const std::string& run_dir) {
  if (newest_checkpoint(checkpoints_of(run_dir))) {
    throw Error(Cause::usage, text(run_dir,
                                   " holds a run already: go on with it by --resume, or give "
                                   "another --run_dir"));
  }
}

RunConfig read_flags(const Arguments& arguments) {
  RunConfig config;
  if (FLAGS_run_dir.empty()) {
    throw Error(Cause::usage, "train needs a folder for the run: give --run_dir=FOLDER");
  }
  if (FLAGS_resume) {
    take_up_old_flags(arguments);
  } else {
    if (FLAGS_dataset.empty()) {
      throw Error(
          Cause::usage,
          "train needs a data set: give --dataset=FILE (micrec prepare or micrec synth make one)");
    }
    // A run that is alive is named by the lock, which is taken before this is asked again.
    if (!lock_holder_of(FLAGS_run_dir)) refuse_old_run(FLAGS_run_dir);
  }
  FLAGS_dataset = fs::absolute(FLAGS_dataset).lexically_normal().string();
  config.dataset = FLAGS_dataset;
  config.run_dir = FLAGS_run_dir;
  config.seed = FLAGS_seed;
  config.resume = FLAGS_resume;
  config.dry_run = FLAGS_dry_run;
  config.partition = FLAGS_partition;
  config.grid = FLAGS_grid;
  config.grid_of_old_run = FLAGS_resume && !arguments.is_given("grid");
  config.reproducible = FLAGS_reproducible;
  config.model = model_config_from_flags();
  config.training = training_config_from_flags();
  for (const int k : integer_list("k")) config.k.push_back(k);
  if (std::ranges::find(config.k, kValidationCutoff) == config.k.end()) {
    config.k.push_back(kValidationCutoff);
  }
  std::ranges::sort(config.k);
  // A flagfile that reproduces the run starts it anew.
  FLAGS_resume = false;
  config.flagfile = to_flagfile(train_command());
  return config;
}

void print_plan(const RunConfig& config, const DatasetFile& dataset, const DatasetSummary& summary,
                const Layout& layout, const ModelConfig& model, Job& job) {
  std::ostream& out = job.log_once();
  out << "dataset   " << dataset.path() << "  (" << dataset.fingerprint() << ")\n";
  for (const DomainInfo& domain : dataset.domains()) {
    out << "          " << domain.name << ": " << with_commas(domain.users) << " users, "
        << with_commas(domain.items) << " items, " << with_commas(domain.interactions[0])
        << " training interactions";
    for (const ModalityInfo& modality : domain.modalities) {
      out << ", " << modality.name << " of " << with_commas(modality.present) << " items";
    }
    out << "\n";
  }
  out << "model     " << name_of(model.kind) << ", " << model.dim << " columns, " << model.layers
      << " layers"
      << (model.modalities.empty() ? "" : ", modalities " + join(model.modalities, ", "))
      << (model.contrastive_weight > 0 ? text(", contrastive ", model.contrastive_weight) : "")
      << "\n";
  const ProcessGrid& grid = layout.grid;
  out << "ranks     " << job.world_size() << " with " << job.threads()
      << (job.threads() == 1 ? " thread each, " : " threads each, ") << "grid " << to_text(grid)
      << ", " << config.partition << " partition" << (layout.reproducible ? ", reproducible" : "")
      << "\n";
  const std::vector<RankLoad> loads = loads_of(summary.space, layout.rows, summary.training_degree);
  for (int part = 0; part < grid.rows; ++part) {
    const int first = grid.rank_of(part, 0);
    out << "          "
        << (grid.columns == 1 ? text("rank ", first)
                              : text("ranks ", first, " to ", first + grid.columns - 1))
        << ": " << with_commas(loads[part].users) << " users, " << with_commas(loads[part].items)
        << " items, " << with_commas(loads[part].nonzeros) << " nonzeros";
    if (grid.columns > 1) out << ", " << model.dim / grid.columns << " columns each";
    out << "\n";
  }
  out << std::flush;
}

void print_halo(const Shard& shard, Job& job) {
  const std::vector<std::int64_t> halo =
      gather_counts(*shard.communicator, "plan.halo_rows", shard.graph->halo_plan().halo_rows());
  if (shard.grid.rows == 1) return;
  std::int64_t rows = 0;
  for (const std::int64_t count : halo) rows += count;
  job.log_once() << "          " << with_commas(rows)
                 << " halo rows over all row parts in each exchange\n"
                 << std::flush;
}

/// A setting that a resumed run has otherwise than its checkpoint.
struct ChangedSetting {
  std::string name;
  std::string before;
  std::string now;
};

std::string history_of(const std::string& flagfile) {
  std::string history;
  for (const std::string& line : split(flagfile, '\n')) {
    if (line.starts_with(kHistoryLine)) history += line + "\n";
  }
  return history;
}

std::string history_line(std::int64_t step, const ChangedSetting& change) {
  return text(kHistoryLine, step, " on: --", change.name, "=", change.now, ", before it ",
              change.before, "\n");
}

/// Everything a run writes about itself; rank 0 alone has one.
struct RunLogs {
  RunLogs(const std::string& run_dir, std::int64_t step, const ProgressGoal& goal)
      : metrics(run_dir, step), tensorboard(run_dir, step), progress(goal) {}

  void stepped(const StepRecord& record) {
    metrics.step(record);
    progress.stepped(record);
    tensorboard.scalars(record.step, {{"loss/total", record.loss},
                                      {"loss/ranking", record.ranking},
                                      {"loss/l2", record.l2},
                                      {"loss/self", record.self},
                                      {"loss/contrastive", record.contrastive},
                                      {"speed/triples_per_second", record.triples_per_second}});
  }
  void validated(std::int64_t epoch, const TrainingState& state, double metric, bool improved,
                 const Report& report) {
    metrics.validation(epoch, state.step, metric, improved, report.to_json());
    progress.validated(state.step, metric, improved);
    std::vector<std::pair<std::string, double>> values;
    for (const DomainReport& domain : report.domains) {
      if (domain.slices.empty()) continue;
      values.emplace_back("validation/" + domain.name + "/ndcg@20",
                          report.value(domain.slices.front(), Metric::ndcg, kValidationCutoff));
    }
    values.emplace_back("validation/ndcg@20", metric);
    tensorboard.scalars(state.step, values);
  }

  MetricsLog metrics;
  TensorBoardLog tensorboard;
  Progress progress;
};

/// The test metrics of the checkpoint that is the run's result, as `micrec evaluate` reports them;
/// nothing where the data set has no test interactions.
struct TestOfRun {
  std::int64_t step = 0;  // of the checkpoint
  Report report;
};
std::optional<TestOfRun> evaluate_test(const RunConfig& config, Job& job) {
  const auto run = open_trained_run(
      {.run_dir = config.run_dir, .checkpoint = "best", .dataset = config.dataset, .out = ""}, job);
  const Evaluator evaluator(
      run->dataset, run->summary.space, run->shard.ownership, job.rank(),
      {.split = Split::test, .k = config.k, .with_new_nodes = true, .threads = job.threads()});
  TestOfRun test{run->info.step,
                 evaluator.evaluate(run->model->embeddings(run->epoch), job.communicator())};
  if (!test.report.has_users()) return std::nullopt;
  test.report.checkpoint = run->checkpoint;
  return test;
}

/// Flags of the run in a checkpoint that this run does not have, as "--dim=64 (the checkpoint has
/// 32)".
std::vector<std::string> different_settings(const RunConfig& config, const Checkpoint& checkpoint) {
  std::map<std::string, std::string> now;
  for (const FlagSetting& setting : parse_flagfile(config.flagfile, "this run's flags")) {
    now[setting.name] = setting.value;
  }
  std::vector<std::string> differences;
  for (const FlagSetting& then : parse_flagfile(checkpoint.info().config, checkpoint.directory())) {
    const auto found = now.find(then.name);
    if (may_change(then.name) || found == now.end() || found->second == then.value) continue;
    differences.push_back(
        text("--", then.name, "=", found->second, " (the checkpoint has ", then.value, ")"));
  }
  return differences;
}

/// Those settings of this run that may change and have: what it computes from here on is not what
/// the checkpoint's run would have.
std::vector<ChangedSetting> changed_settings(const RunConfig& config,
                                             const Checkpoint& checkpoint) {
  std::map<std::string, std::string> then;
  for (const FlagSetting& setting :
       parse_flagfile(checkpoint.info().config, checkpoint.directory())) {
    then[setting.name] = setting.value;
  }
  std::vector<ChangedSetting> changes;
  for (const FlagSetting& now : parse_flagfile(config.flagfile, "this run's flags")) {
    const auto found = then.find(now.name);
    if (now.name == "max_steps" && !config.training.lr_decay) continue;
    if (is_recorded(now.name) && found != then.end() && found->second != now.value) {
      changes.push_back({now.name, found->second, now.value});
    }
  }
  return changes;
}

/// What a resumed run goes on from.
struct ResumedRun {
  TrainingState state;
  std::string checkpoint;
  std::string history;  // of settings, lines of its flagfile
  std::vector<ChangedSetting> changes;
};

/// Fills the model from the newest checkpoint that is whole and of this run. Ranks: collective.
ResumedRun resume(const RunConfig& config, const DatasetFile& dataset,
                  const CheckpointStore& checkpoints, Model& model, Optimizer& optimizer,
                  Job& job) {
  std::vector<std::string> stepped_over;
  const Checkpoint newest = checkpoints.open_newest_valid(&stepped_over);
  for (const std::string& damage : stepped_over) {
    LOG_IF(WARNING, job.rank() == 0) << "stepped over a checkpoint: " << damage;
  }
  std::vector<std::string> differences = different_settings(config, newest);
  if (newest.info().dataset_fingerprint != dataset.fingerprint()) {
    differences.push_back(text("dataset ", dataset.path(), " with fingerprint ",
                               dataset.fingerprint(), " (the checkpoint has ",
                               newest.info().dataset_path, " with ",
                               newest.info().dataset_fingerprint, ")"));
  }
  if (!differences.empty()) {
    throw Error(
        Cause::checkpoint,
        text(newest.directory(), " is of a run with other settings: ", join(differences, ", "),
             "; give those of the run, or start a new one in another --run_dir"));
  }
  ResumedRun resumed;
  resumed.state = restore(newest, model, &optimizer);
  resumed.checkpoint = newest.name();
  resumed.history = history_of(newest.info().config);
  resumed.changes = changed_settings(config, newest);
  job.log_once() << "resumed   from " << newest.name() << "\n";
  for (const ChangedSetting& change : resumed.changes) {
    resumed.history += history_line(resumed.state.step, change);
    job.log_once() << "changed   --" << change.name << "=" << change.now << ", until here "
                   << change.before << "\n";
  }
  return resumed;
}

int train(const RunConfig& config, Job& job) {
  const Timer timer;
  Communicator& communicator = job.communicator();
  const DatasetFile dataset = DatasetFile::open(config.dataset);
  const DatasetSummary summary = summarise(dataset);
  ModelConfig model_config = config.model;
  model_config.modalities = resolve_modalities(model_config.modalities, dataset);
  model_config = resolve(model_config, summary.space.domains());
  std::string grid_wanted = config.grid;
  if (config.grid_of_old_run) {
    const std::optional<ProcessGrid> old = read_grid(config.grid);
    if (old && old->ranks() != job.world_size()) grid_wanted = "auto";
  }
  const bool is_planned = grid_wanted == "auto" && !config.reproducible;
  const ProcessGrid grid =
      is_planned
          ? planned_grid(config.partition, dataset, summary, model_config,
                         sampling_config_from_flags(config.seed, job.threads()), communicator)
          : grid_of_flags(grid_wanted, config.partition, config.reproducible, job.world_size(),
                          model_config.dim);
  Layout layout =
      layout_of_flags(config.partition, config.reproducible, dataset, summary, grid, communicator);
  print_plan(config, dataset, summary, layout, model_config, job);
  if (config.dry_run) return 0;
  const HeldFolder held = hold_run_folder(config.run_dir, job);
  if (held.stopped) {
    job.log_once() << "stopped while another run had " << config.run_dir
                   << "; nothing was trained\n"
                   << std::flush;
    return kExitStopped;
  }
  throw_together(communicator, "run_folder.old_run", attempt([&] {
                   if (job.rank() == 0 && !config.resume) refuse_old_run(config.run_dir);
                 }));
  // Hours of training are not given to a dataset with a turned bit in it.
  throw_together(communicator, "dataset.verify", attempt([&] {
                   if (job.rank() == 0) dataset.verify();
                 }));
  preflight({.run_dir = config.run_dir,
             .commit = config.training.commit,
             .checkpoint_bytes = most_checkpoint_bytes(summary.space.nodes(), model_config.dim),
             .dataset_fingerprint = dataset.fingerprint()},
            job);

  // A reproducible run sends more on purpose.
  const bool has_bound = job.world_size() > 1 && !config.reproducible;
  PlannedStep planned;
  if (has_bound && job.rank() == 0) {
    planned = plan_step(layout.rows, dataset, summary, model_config,
                        sampling_config_from_flags(config.seed, job.threads()));
  }

  const GridGroups groups = split_world(communicator, grid);
  Shard shard =
      load_shard(dataset, summary, std::move(layout), Observed::training, job.threads(), groups);
  move_to(shard, job.device());
  print_halo(shard, job);
  Model model(model_config, dataset, shard, config.seed);
  Optimizer optimizer(model, config.training.adam);
  Traffic traffic;
  if (has_bound) {
    const std::vector<SemanticHalo> semantic = model.semantic_halos();
    if (job.rank() == 0) traffic.bound_bytes = bound_of_bytes(planned, grid, semantic);
  }
  EpochSampler sampler(summary.space,
                       read_training_share(dataset, summary.space, shard.ownership, shard.rank()),
                       eligible_items(dataset, summary.space),
                       sampling_config_from_flags(config.seed, job.threads()));
  const Evaluator validation(
      dataset, summary.space, shard.whole, job.rank(),
      {.split = Split::valid, .k = config.k, .slices = false, .threads = job.threads()});

  CheckpointStore checkpoints(checkpoints_of(config.run_dir), communicator);
  std::optional<ResumedRun> resumed;
  if (config.resume) {
    resumed = resume(config, dataset, checkpoints, model, optimizer, job);
  } else {
    model.initialise();
  }
  TrainingState state = resumed ? resumed->state : TrainingState();
  const std::string flagfile = (resumed ? resumed->history : "") + config.flagfile;
  throw_together(communicator, "run_folder.config", attempt([&] {
                   if (job.rank() != 0) return;
                   replace_file_durably((fs::path(config.run_dir) / "config.txt").string(),
                                        flagfile);
                 }));
  job.log_once() << "loaded    in " << in_time(timer.seconds()) << "\n" << std::flush;

  CheckpointInfo description;
  description.config = flagfile;
  description.dataset_path = config.dataset;
  description.dataset_fingerprint = dataset.fingerprint();
  description.grid = to_text(grid);

  std::optional<RunLogs> logs;
  Report last_validation;
  TrainingEvents events;
  events.stepped = [&](const StepRecord& record) {
    Traffic latest = Traffic::of(communicator, record.steps, record.traffic);
    latest.bound_bytes = traffic.bound_bytes;
    traffic.add(latest);
    if (held.lock) held.lock->check();
    if (logs) logs->stepped(record);
    if (logs && job.world_size() > 1) logs->metrics.ledger(record.step, latest);
  };
  events.validate = [&](const TrainingState&, const at::Tensor& z) {
    last_validation = validation.evaluate(z, communicator);
    return last_validation.mean(Metric::ndcg, kValidationCutoff);
  };
  events.validated = [&](const TrainingState& at, double metric, bool improved) {
    const std::int64_t epoch = epoch_of_last_step(at.step, sampler.steps_per_epoch());
    if (logs) logs->validated(epoch, at, metric, improved, last_validation);
  };
  events.saved = [&](const SavedCheckpoint& saved) {
    if (logs) logs->metrics.save(saved);
  };
  events.profiled = [&](const StepProfile& profile) {
    if (logs) logs->metrics.profile(profile);
  };
  events.save_step = [&held, death = death_from_environment(job.rank())](SaveStep step) {
    // Before all that changes what is in the folder, to the removal of old checkpoints.
    const bool is_gate = step == SaveStep::begun || step >= SaveStep::manifest_written;
    if (held.lock && is_gate) held.lock->check();
    if (death) death(step);
  };
  events.stop_requested = [&] { return job.stop_requested(); };
  bool has_validation = false;
  for (const DomainInfo& domain : dataset.domains()) {
    has_validation |= domain.interactions[static_cast<int>(Split::valid)] > 0;
  }
  if (!has_validation) {
    events.validate = nullptr;
    job.log_once() << "the data set has no validation interactions: no early stopping, the last "
                      "checkpoint is the result\n";
  }
  TrainingConfig training = config.training;
  if (const std::optional<double> left = seconds_until_job_ends()) {
    job.log_once() << "time      the job ends in " << in_time(*left)
                   << "; the run saves and stops before\n";
    if (training.time_limit_seconds <= 0 || *left < training.time_limit_seconds) {
      training.time_limit_seconds = std::max(*left, 1e-9);
    }
  }
  Trainer trainer(training, model, optimizer, sampler, checkpoints, description, std::move(events));
  if (job.rank() == 0) {
    logs.emplace(config.run_dir, state.step,
                 ProgressGoal{.first_step = state.step,
                              .last_step = trainer.last_step(),
                              .steps_per_epoch = trainer.steps_per_epoch(),
                              .metric = "ndcg@20",
                              .best_metric = state.best_step > 0 ? std::optional(state.best_metric)
                                                                 : std::nullopt,
                              .best_step = state.best_step});
    if (resumed) {
      std::map<std::string, std::pair<std::string, std::string>> changes;
      for (const ChangedSetting& change : resumed->changes) {
        changes[change.name] = {change.before, change.now};
      }
      logs->metrics.resume(state.step, resumed->checkpoint, changes);
    }
  }

  const TrainingEnd end = trainer.run(state);
  if (logs) logs->progress.end_line();
  job.log_once() << traffic.to_table();
  if (end == TrainingEnd::interrupted) {
    if (logs) logs->metrics.end(state.step, "interrupted", timer.seconds());
    job.log_once() << "stopped after step " << state.step
                   << " and saved; go on with: micrec train --run_dir=" << config.run_dir
                   << " --resume\n"
                   << std::flush;
    return kExitStopped;
  }
  const std::optional<TestOfRun> test = evaluate_test(config, job);
  const char* reason = end == TrainingEnd::early_stopped ? "no improvement" : "finished";
  if (logs && test) logs->metrics.test(test->step, test->report.to_json());
  if (logs) logs->metrics.end(state.step, reason, timer.seconds());
  if (test) {
    job.log_once() << "test of " << test->report.checkpoint << "\n" << test->report.to_table();
  }
  job.log_once() << reason << " after step " << state.step << " in " << in_time(timer.seconds())
                 << "; at most " << in_bytes(peak_memory_bytes()) << " of memory on rank 0\n"
                 << std::flush;
  return 0;
}

int run_train(const Arguments& arguments) {
  const RunConfig config = read_flags(arguments);
  return run_ranks_of(
      "train", [&](Job& job) { return train(config, job); },
      parse_signals(FLAGS_stop_signals).value(), config.reproducible);
}

}  // namespace

Command train_command() {
  Command command;
  command.name = "train";
  command.summary = "train a model on a dataset, on one rank or many; resume a run";
  command.usage = "mpirun -np RANKS micrec train --dataset=FILE --run_dir=FOLDER [flags]";
  command.example = "mpirun -np 2 micrec train --dataset=fk.h5 --run_dir=runs/fk --max_steps=360";
  command.flags = {
      dataset_flag(), run_dir_flag(), {"resume", "Files", ""}, {"dry_run", "Files", ""}};
  for (const std::vector<FlagSpec>& group :
       {model_flags(), training_flags(), running_flags(), cluster_flags()}) {
    command.flags.insert(command.flags.end(), group.begin(), group.end());
  }
  command.flags.push_back(k_flag());
  command.run = run_train;
  return command;
}

}  // namespace micrec
