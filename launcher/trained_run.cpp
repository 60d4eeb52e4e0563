#include "launcher/trained_run.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "checkpoints/store.h"
#include "cluster/agreement.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/train_flags.h"
#include "model/modality.h"
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

/// "there are step-000000000010, step-000000000020": what can be asked for instead.
std::string other_checkpoints(const std::string& directory, const std::string& but) {
  std::vector<std::string> names = list_checkpoints(directory);
  std::erase(names, but);
  return names.empty() ? "there is no other"
                       : "evaluate, export and recommend take another by --checkpoint: there are " +
                             join(names, ", ");
}

/// The checkpoint that best.json names; nothing where there is no best.json.
/// Errors   Error(checkpoint) where that is damaged, or names one that is not there.
std::optional<std::string> named_best(const std::string& directory) {
  std::optional<std::string> name;
  if (const std::optional<Failure> damage =
          attempt([&] { name = best_checkpoint_name(directory); })) {
    throw Error(damage->cause, text(damage->message, "; ", other_checkpoints(directory, "")));
  }
  if (!name) return std::nullopt;
  const std::optional<std::string> found = best_checkpoint(directory);
  if (!found) {
    throw Error(Cause::checkpoint,
                text(directory, "/best.json names ", *name, ", which is not there or incomplete; ",
                     other_checkpoints(directory, *name)));
  }
  return found;
}

/// Opens it; one that cannot be used is an Error that says which others there are.
Checkpoint open_or_name_others(const std::string& path, Communicator& communicator) {
  Failure why;
  std::optional<Checkpoint> checkpoint = Checkpoint::try_open(path, communicator, why);
  if (checkpoint) return *std::move(checkpoint);
  if (why.cause != Cause::checkpoint) throw_failure(why);
  const std::filesystem::path folder(path);
  throw Error(why.cause,
              text(why.message, "; ",
                   other_checkpoints(folder.parent_path().string(), folder.filename().string())));
}

}  // namespace

int run_ranks_of(const std::string& command, const std::function<int(Job&)>& body) {
  return run_job(0, nullptr, job_options_from_flags(command), body);
}

std::string checkpoint_path(const std::string& run_dir, const std::string& which) {
  if (run_dir.empty()) {
    throw Error(Cause::usage, "no run is named: give --run_dir=FOLDER, the one that train wrote");
  }
  const std::string directory = checkpoints_of(run_dir);
  std::optional<std::string> found;
  if (which == "best") found = named_best(directory);
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

std::vector<std::string> resolve_modalities(const std::vector<std::string>& asked,
                                            const DatasetFile& dataset) {
  if (asked != std::vector<std::string>{"all"}) {
    for (const std::string& name : asked) modality_width(dataset, name);  // refuses unknown ones
    return asked;
  }
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
  const Checkpoint checkpoint = open_or_name_others(path, job.communicator());
  const CheckpointInfo& info = checkpoint.info();
  if (!options.model) set_model_flags(info.config, path);
  const std::string dataset_path = options.dataset.empty() ? info.dataset_path : options.dataset;
  if (!is_there(dataset_path)) {
    throw Error(Cause::io, text("the run's data set ", dataset_path,
                                " is not there; give --dataset=FILE where it is now"));
  }
  refuse_output_over_inputs("--out", options.out, {dataset_path});
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
  run->shard = load_shard(run->dataset, run->summary,
                          assign_balanced(run->summary.space, run->summary.people,
                                          run->summary.training_degree, job.world_size()),
                          options.observed, job.threads(), job.communicator());
  move_to(run->shard, job.device());
  ModelConfig config = options.model ? *options.model : model_config_from_flags();
  config.modalities = resolve_modalities(config.modalities, run->dataset);
  config = resolve(config, run->summary.space.domains());
  run->model = std::make_unique<Model>(config, run->dataset, run->shard, /*seed=*/0);
  restore(checkpoint, *run->model, /*with_optimizer_state=*/false);
  run->epoch = annealing_epoch(info);
  return run;
}

}  // namespace micrec
