#include "launcher/trained_run.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/store.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/train_flags.h"
#include "train/trainer.h"

namespace micrec {
namespace {

/// Sets the flags that decide what the model computes as the checkpoint's run had them.
void set_model_flags(const std::string& config, const std::string& origin) {
  const std::vector<FlagSpec> specs = model_flags();
  const Command command = train_command();
  for (const FlagSetting& setting : parse_flagfile(config, origin)) {
    if (std::ranges::find(specs, setting.name, &FlagSpec::name) != specs.end()) {
      set_flag(command, setting);
    }
  }
}

}  // namespace

int run_ranks_of(const std::string& command, const std::function<int(Job&)>& body) {
  JobOptions options;
  options.program = "micrec " + command;
  options.threads = FLAGS_threads;
  options.device = FLAGS_device;
  return run_job(0, nullptr, options, body);
}

std::string checkpoint_path(const std::string& run_dir, const std::string& which) {
  if (run_dir.empty()) {
    throw Error(Cause::usage, "no run is named: give --run_dir=FOLDER, the one that train wrote");
  }
  const std::string directory = (std::filesystem::path(run_dir) / "checkpoints").string();
  std::optional<std::string> found;
  if (which == "best") found = best_checkpoint(directory);
  if (which == "newest" || (which == "best" && !found)) found = newest_checkpoint(directory);
  if (which != "best" && which != "newest") {
    found = (std::filesystem::path(directory) / which).string();
  }
  if (!found) {
    throw Error(Cause::checkpoint,
                text(directory, " holds no checkpoint; train first, or give another --run_dir"));
  }
  return *found;
}

Ownership assign(const std::string& partition, const DatasetSummary& summary, int ranks) {
  if (partition == "hash") return assign_by_hash(summary.space, summary.people, ranks);
  return assign_balanced(summary.space, summary.people, summary.training_degree, ranks);
}

ProcessGrid choose_grid(const std::string& grid, int ranks, int dim) {
  return grid == "auto" ? ProcessGrid{ranks, 1} : parse_grid(grid, ranks, dim);
}

Layout plan_layout(const std::string& partition, bool reproducible, const DatasetSummary& summary,
                   const ProcessGrid& grid) {
  constexpr int kSummands = 16;
  if (reproducible && grid.rows > kSummands) {
    throw Error(
        Cause::usage,
        text("--reproducible sums over ", kSummands, " parts, but --grid=", to_text(grid), " has ",
             grid.rows, " row parts; give a grid with at most ", kSummands, ", such as ", kSummands,
             "x", (grid.ranks() + kSummands - 1) / kSummands, ", or leave --reproducible out"));
  }
  Ownership summands = assign(partition, summary, reproducible ? kSummands : grid.rows);
  return make_layout(summary.space, summary.people, std::move(summands), grid, reproducible);
}

std::vector<std::string> resolve_modalities(const std::vector<std::string>& asked,
                                            const DatasetFile& dataset) {
  if (asked != std::vector<std::string>{"all"}) return asked;
  std::vector<std::string> names;
  for (const DomainInfo& domain : dataset.domains()) {
    for (const ModalityInfo& modality : domain.modalities) {
      if (std::ranges::find(names, modality.name) == names.end()) names.push_back(modality.name);
    }
  }
  std::ranges::sort(names);
  return names;
}

std::unique_ptr<TrainedRun> open_trained_run(const TrainedRunOptions& options, Job& job) {
  const std::string path = checkpoint_path(options.run_dir, options.checkpoint);
  const Checkpoint checkpoint = Checkpoint::open(path, job.communicator());
  const CheckpointInfo& info = checkpoint.info();
  set_model_flags(info.config, path);
  const std::string dataset_path = options.dataset.empty() ? info.dataset_path : options.dataset;
  if (!std::filesystem::exists(dataset_path)) {
    throw Error(Cause::io, text("the run's data set ", dataset_path,
                                " is not there; give --dataset=FILE where it is now"));
  }
  DatasetFile dataset = DatasetFile::open(dataset_path);
  if (dataset.fingerprint() != info.dataset_fingerprint) {
    throw Error(Cause::checkpoint,
                text(path, " was trained on a data set with fingerprint ", info.dataset_fingerprint,
                     ", but ", dataset_path, " has ", dataset.fingerprint(),
                     "; give --dataset=FILE with the one it was trained on"));
  }
  DatasetSummary summary = summarise(dataset);
  auto run = std::unique_ptr<TrainedRun>(
      new TrainedRun{checkpoint.name(), info, std::move(dataset), std::move(summary), {}, {}, 0});
  run->shard =
      load_shard(run->dataset, run->summary, assign("balanced", run->summary, job.world_size()),
                 options.observed, job.threads(), job.communicator());
  ModelConfig config = model_config_from_flags();
  config.modalities = resolve_modalities(config.modalities, run->dataset);
  config = resolve(config, run->summary.space.domains());
  run->model = std::make_unique<Model>(config, run->dataset, run->shard, /*seed=*/0);
  restore(checkpoint, *run->model, /*with_optimizer_state=*/false);
  run->epoch = annealing_epoch(info);
  return run;
}

}  // namespace micrec
