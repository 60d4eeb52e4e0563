#include "launcher/run_config.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/run_folder.h"
#include "cluster/signals.h"
#include "evaluate/validation.h"
#include "io/run_lock.h"
#include "launcher/program.h"
#include "launcher/run_flags.h"
#include "train/run_settings.h"
#include "train/run_start.h"

namespace micrec {
namespace {

/// A flagfile, and where it is, for messages.
struct Settings {
  std::string flagfile;
  std::string origin;
};

/// Those of the run to resume: of its newest checkpoint, or of a run that ended before its first.
Settings settings_to_resume(const std::string& run_dir) {
  if (const auto begun = settings_before_first_checkpoint(run_dir)) {
    return {*begun, config_file_of(run_dir)};
  }
  // The ranks, once joined, verify every byte and may step back to an older one; that has the same
  // settings but for those that may change.
  const Checkpoint checkpoint = open_newest_valid(checkpoints_of(run_dir), Verify::sizes);
  return {checkpoint.info().config, checkpoint.directory()};
}

/// Sets the flags that were not given as the run to resume has them.
void take_up_old_flags(const std::string& run_dir, const Command& train,
                       const Arguments& arguments) {
  const auto [saved, origin] = settings_to_resume(run_dir);
  const std::vector<RunSetting> now = settings_of(train);
  std::vector<std::string> differences;
  std::vector<FlagSetting> taken;
  for (const FlagSetting& setting : parse_flagfile(saved, origin)) {
    if (setting.name == "resume" || setting.name == "dry_run") continue;
    const Flag* const flag = find_flag(train, setting.name);
    if (flag != nullptr && arguments.is_given(flag->name) && flag->on_resume == OnResume::kept) {
      // Compare as the flag itself writes its value, so that 1e-3 and 0.001 are the same.
      const std::string given = flag->value.text();
      set_flag(train, setting);
      if (flag->value.text() != given) {
        differences.push_back(
            text("--", flag->name, "=", given, " (the run has ", flag->value.text(), ")"));
      }
    }
    taken.push_back(setting);
  }
  for (const FlagSetting& change : unsaved_changes(now, run_dir, saved)) {
    for (FlagSetting& setting : taken) {
      if (setting.name == change.name) setting.value = change.value;
    }
  }
  if (!differences.empty()) {
    throw Error(Cause::usage, text("a resumed run keeps its own settings, but these differ: ",
                                   join(differences, ", "),
                                   "; leave them out, or start a new run in another --run_dir"));
  }
  set_flags_not_given(train, taken, arguments);
}

/// --epochs where it is not given: of the kinds that are solved a few, else `otherwise`.
std::int64_t default_epochs(ModelKind kind, std::int64_t otherwise) {
  constexpr std::int64_t kEpochsOfIals = 8;
  switch (kind) {
    case ModelKind::ials:
      return kEpochsOfIals;
    case ModelKind::popularity:
    case ModelKind::item_regression:
      return 1;
    default:
      return otherwise;
  }
}

/// The settings of item regression that the run to begin from has chosen, as flags; those that
/// cannot be written as one are chosen anew. A run without item regression has none.
std::vector<FlagSetting> chosen_regression(const Checkpoint& checkpoint) {
  if (!checkpoint.info().item_regression) return {};
  const std::string path = coefficient_file_beside(checkpoint.directory());
  const auto settings = nlohmann::ordered_json::parse(look_at_coefficients(path).origin.settings,
                                                      nullptr, /*allow_exceptions=*/false);
  if (!settings.is_object() || !settings.contains("chosen")) return {};
  std::vector<std::string> lambda, cross, alpha;
  for (const auto& [domain, of] : settings["chosen"].items()) {
    if (!of.contains("lambda") || !of.contains("cross")) return {};
    lambda.push_back(of["lambda"].dump());
    cross.push_back(of["cross"].dump());
    std::set<std::string> of_modalities;
    if (of.contains("alpha")) {
      for (const auto& one : of["alpha"]) of_modalities.insert(one.dump());
    }
    if (of_modalities.size() == 1) alpha.push_back(*of_modalities.begin());
  }
  std::vector<FlagSetting> flags = {{"regression_lambda", join(lambda, ","), path},
                                    {"regression_cross", join(cross, ","), path}};
  if (alpha.size() == lambda.size()) {
    flags.push_back({"regression_alpha", join(alpha, ","), path});
  }
  return flags;
}

/// Sets the model's flags that were not given as the run to begin from has them.
void take_up_model_flags(RunConfig& config, const Command& train, const Arguments& arguments) {
  config.init_from = std::filesystem::absolute(config.init_from).lexically_normal().string();
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
  for (FlagSetting& chosen : chosen_regression(checkpoint)) taken.push_back(std::move(chosen));
  set_flags_not_given(train, taken, arguments);
}

/// Refuses flags that name no run, and sets those that a resumed run has of its checkpoint.
void complete_flags(RunConfig& config, const Command& train, const Arguments& arguments) {
  if (config.run_dir.empty()) {
    throw Error(Cause::usage, "train needs a folder for the run: give --run_dir=FOLDER");
  }
  if (config.resume) {
    take_up_old_flags(config.run_dir, train, arguments);
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
      config.training.epochs = default_epochs(config.model.kind, config.training.epochs);
    }
    // A run that is alive is named by the lock, which is taken before this is asked again.
    if (!lock_holder_of(config.run_dir)) refuse_old_run(config.run_dir);
  }
  config.dataset = std::filesystem::absolute(config.dataset).lexically_normal().string();
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
  throw Error(Cause::usage,
              text("--model=", name_of(model.kind),
                   " and --item_regression=", model.item_regression == Use::alone ? "alone" : "off",
                   " do not go together: for item regression alone give --model=item_regression "
                   "and nothing else, for another model beside it --item_regression=auto"));
}

void complete(RunConfig& config, const Command& train, const Arguments& arguments) {
  const bool resume = config.resume;
  complete_flags(config, train, arguments);
  config.grid_of_old_run = resume && !arguments.is_given("grid");
  config.training.time_limit_seconds = 60 * config.time_limit_minutes;
  config.sampling.seed = config.seed;
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

RunConfig read_run_config(const std::vector<std::string>& words) {
  RunConfig config;
  Command train;
  train.name = "train";
  train.flags = run_flags(config);
  complete(config, train, parse_flags(train, words));
  return config;
}

}  // namespace micrec
