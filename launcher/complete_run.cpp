#include "launcher/complete_run.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "cluster/signals.h"
#include "evaluate/validation.h"
#include "io/run_lock.h"
#include "launcher/program.h"
#include "launcher/run_flags.h"
#include "train/item_regression_run.h"
#include "train/plan/run_planner.h"
#include "train/run_settings.h"
#include "train/run_start.h"

namespace micrec {
namespace {

/// As config.txt keeps it, so that a run is resumed from any folder.
std::string absolute_path(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

/// Sets the flags that were not given as the run to resume has them.
void take_up_old_flags(const std::string& run_dir, const Command& train,
                       const Arguments& arguments) {
  const auto [saved, origin] = settings_to_resume(run_dir);
  std::vector<FlagSetting> taken = parse_flagfile(saved, origin);
  std::erase_if(taken, [](const FlagSetting& setting) {
    return setting.name == "resume" || setting.name == "dry_run";
  });
  const std::vector<std::string> differences = differences_from(train, taken, arguments);
  if (!differences.empty()) {
    throw Error(Cause::usage,
                "a resumed run keeps its own settings, but these differ: ", join(differences, ", "),
                "; leave them out, or start a new run in another --run_dir");
  }
  set_flags_not_given(train, taken, arguments);
}

/// Sets the model's flags that were not given as the run to begin from has them.
void take_up_model_flags(RunConfig& config, const Command& train, const Arguments& arguments) {
  const Checkpoint checkpoint =
      Checkpoint::open(checkpoint_to_begin_from(config.init_from), Verify::sizes);
  RunConfig of_model;
  const std::vector<Flag> flags = model_flags(of_model);
  std::vector<FlagSetting> taken;
  for (const FlagSetting& setting :
       parse_flagfile(checkpoint.info().config, checkpoint.directory())) {
    if (std::ranges::find(flags, setting.name, &Flag::name) != flags.end()) {
      taken.push_back(setting);
    }
  }
  std::vector<FlagSetting> columns = taken;
  std::erase_if(columns, [](const FlagSetting& setting) { return setting.name != "dim"; });
  const std::vector<std::string> differences = differences_from(train, columns, arguments);
  if (!differences.empty()) {
    throw Error(Cause::usage, "--init_from takes rows over as they are, but ",
                join(differences, ", "), "; leave it out, or begin a run from nothing");
  }
  for (FlagSetting& chosen : chosen_item_regression(checkpoint)) taken.push_back(std::move(chosen));
  set_flags_not_given(train, taken, arguments);
}

/// Refuses flags that name no run, and sets those that a resumed run has of its config.txt.
void complete_flags(RunConfig& config, const Command& train, const Arguments& arguments) {
  if (config.run_dir.empty()) {
    throw Error(Cause::usage, "train needs a folder for the run: give --run_dir=FOLDER");
  }
  if (!config.init_from.empty()) config.init_from = absolute_path(config.init_from);
  if (config.resume) {
    take_up_old_flags(config.run_dir, train, arguments);
    if (config.dataset.empty()) {
      throw Error(Cause::checkpoint, config_file_of(config.run_dir),
                  " names no --dataset; remove the file, and the settings are those of the "
                  "run's newest checkpoint, or give --dataset=FILE");
    }
  } else {
    if (config.dataset.empty()) {
      throw Error(
          Cause::usage,
          "train needs a data set: give --dataset=FILE (micrec prepare or micrec synth make one)");
    }
    if (!config.init_from.empty()) take_up_model_flags(config, train, arguments);
    if (config.init_from.empty() || arguments.is_given("model") ||
        arguments.is_given("item_regression")) {
      complete_item_regression(config.model, arguments);
    }
    if (!arguments.is_given("epochs")) {
      config.training.epochs = epochs_of_solved(config.model.kind).value_or(config.training.epochs);
    }
    // A run that is alive is named by the lock, which is taken before this is asked again.
    if (!lock_holder_of(config.run_dir)) refuse_old_run(config.run_dir);
  }
  config.dataset = absolute_path(config.dataset);
  std::string& partition = config.sharing.partition;
  if (const std::string file = file_of_partition(partition); !file.empty()) {
    partition.replace(partition.size() - file.size(), file.size(), absolute_path(file));
  }
  if (config.training.lr_decay && config.training.max_steps == 0) {
    throw Error(
        Cause::usage,
        "--lr_decay needs an end to decay towards: give --max_steps, the steps of the whole run");
  }
}

}  // namespace

void complete_item_regression(ModelConfig& model, const Arguments& arguments) {
  using Use = ItemRegressionUse;
  const bool is_alone = model.kind == ModelKind::item_regression;
  if (!arguments.is_given("item_regression")) {
    if (is_alone) model.item_regression = Use::alone;
    if (!is_alone && model.kind != ModelKind::micrec) model.item_regression = Use::off;
    return;
  }
  if (model.item_regression == Use::automatic && is_alone) model.item_regression = Use::alone;
  if (model.item_regression == Use::alone && !arguments.is_given("model")) {
    model.kind = ModelKind::item_regression;
  }
  if ((model.item_regression == Use::alone) == (model.kind == ModelKind::item_regression)) return;
  throw Error(Cause::usage, "--model=", name_of(model.kind),
              " and --item_regression=", model.item_regression == Use::alone ? "alone" : "off",
              " do not go together: for item regression alone give --model=item_regression "
              "and nothing else, for another model beside it --item_regression=auto");
}

std::optional<std::int64_t> epochs_of_solved(ModelKind kind) {
  constexpr std::int64_t kEpochsOfIals = 8;
  if (kind == ModelKind::ials) return kEpochsOfIals;
  if (kind == ModelKind::popularity || kind == ModelKind::item_regression) return 1;
  return std::nullopt;
}

void complete(RunConfig& config, const Command& train, const Arguments& arguments) {
  const bool resume = config.resume;
  complete_flags(config, train, arguments);
  config.grid_of_old_run = resume && !arguments.is_given("grid");
  if (std::ranges::find(config.k, kValidationCutoff) == config.k.end()) {
    config.k.push_back(kValidationCutoff);
  }
  std::ranges::sort(config.k);
  config.job.communicator.reproducible = config.sharing.reproducible;
  config.job.stop_signals = parse_signals(config.stop_signals).value();
  config.idle = idle_flags(train, arguments);
  config.versions = program_versions();
  // A flagfile that reproduces the run starts it anew.
  config.resume = false;
  config.settings = settings_of(train);
  config.flagfile = to_flagfile(train);
  config.resume = resume;
  for (RunSetting& setting : config.settings) {
    // Without a decay that ends with them, more steps change nothing of those before.
    if (setting.name == "max_steps" && !config.training.lr_decay) {
      setting.on_resume = OnResume::may_change;
    }
  }
}

}  // namespace micrec
