#include "launcher/run_config.h"

#include <gflags/gflags.h>

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
#include "io/run_lock.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/train_flags.h"
#include "train/run_start.h"

DECLARE_string(partition);
DECLARE_string(grid);
DECLARE_int64(epochs);
DEFINE_bool(resume, false,
            "go on with the run in --run_dir from its newest checkpoint, or begin it again where "
            "it ended before its first, with its settings; --lr, --l2, --dropout and, where "
            "--lr_decay ends with it, --max_steps may be given anew, which config.txt and "
            "metrics.jsonl tell");
DEFINE_string(
    init_from, "",
    "a run whose model this one begins with, on a dataset that holds more: rows and moments "
    "of known users and items are taken over, new ones begin with what the model infers, "
    "and the model's flags, where they are not given, are that run's; train then for a tenth "
    "of its steps");
DEFINE_bool(reproducible, false,
            "the same bits on any grid of at most 16 row parts, by sums in one fixed order; takes "
            "about 4% of a step");
DEFINE_bool(dry_run, false, "print the plan and the configuration, and stop before training");
DEFINE_string(stop_signals, "TERM,INT,USR1,USR2",
              "signals that make the run save and end with exit code 75; a second one ends it at "
              "once");

namespace micrec {
namespace {

std::vector<FlagSpec> running_flags() {
  const auto check_grid = [](const std::string& value) {
    return value == "auto" || read_grid(value)
               ? std::string()
               : "auto, or RxC with R times C the number of ranks, such as 4x2";
  };
  const auto check_signals = [](const std::string& value) {
    return parse_signals(value) ? std::string()
                                : "some of TERM, INT, USR1, USR2, HUP, QUIT, ALRM, XCPU and PWR "
                                  "with commas between, or nothing";
  };
  return {
      partition_flag(),
      may_change({"grid", "Distribution", "", written_as("auto or RxC", check_grid)}),
      {"reproducible", "Distribution", ""},
      device_flag(),
      threads_flag(),
      seed_flag(),
      may_change({"stop_signals", "Cluster", "signals",
                  written_as("names with commas between", check_signals)}),
  };
}

/// A flagfile, and where it is, for messages.
struct Settings {
  std::string flagfile;
  std::string origin;
};

/// Those of the run to resume: of its newest checkpoint, or of a run that ended before its first.
Settings settings_to_resume() {
  if (const auto begun = settings_before_first_checkpoint(FLAGS_run_dir)) {
    return {*begun, FLAGS_run_dir + "/config.txt"};
  }
  // The ranks, once joined, verify every byte and may step back to an older one; that has the same
  // settings but for those that may change.
  const Checkpoint checkpoint = open_newest_valid(checkpoints_of(FLAGS_run_dir), Verify::sizes);
  return {checkpoint.info().config, checkpoint.directory()};
}

/// Sets the flags that were not given as the run to resume has them.
void take_up_old_flags(const Arguments& arguments) {
  const Command command = train_command();
  const auto [saved, origin] = settings_to_resume();
  const std::vector<RunSetting> now = settings_of(command);
  const auto is_kept = [&](const std::string& name) {
    const auto found = std::ranges::find(now, name, &RunSetting::name);
    return found == now.end() || found->on_resume == OnResume::kept;
  };
  std::vector<std::string> differences;
  std::vector<FlagSetting> taken;
  for (const FlagSetting& setting : parse_flagfile(saved, origin)) {
    if (setting.name == "resume" || setting.name == "dry_run") continue;
    if (arguments.is_given(setting.name) && is_kept(setting.name)) {
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
  for (const FlagSetting& change : unsaved_changes(now, FLAGS_run_dir, saved)) {
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
void take_up_model_flags(const Arguments& arguments) {
  FLAGS_init_from = std::filesystem::absolute(FLAGS_init_from).lexically_normal().string();
  const Checkpoint checkpoint =
      Checkpoint::open(checkpoint_to_begin_from(FLAGS_init_from), Verify::sizes);
  const std::vector<FlagSpec> specs = model_flags();
  std::vector<FlagSetting> taken;
  for (const FlagSetting& setting :
       parse_flagfile(checkpoint.info().config, checkpoint.directory())) {
    if (std::ranges::find(specs, setting.name, &FlagSpec::name) != specs.end()) {
      taken.push_back(setting);
    }
  }
  for (FlagSetting& chosen : chosen_regression(checkpoint)) taken.push_back(std::move(chosen));
  set_flags_not_given(train_command(), taken, arguments);
}

/// Refuses flags that name no run, and sets those that a resumed run has of its checkpoint.
void complete_flags(const Arguments& arguments) {
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
    if (!FLAGS_init_from.empty()) take_up_model_flags(arguments);
    if (FLAGS_init_from.empty() || arguments.is_given("model") ||
        arguments.is_given("item_regression")) {
      complete_item_regression(arguments);
    }
    if (!arguments.is_given("epochs")) FLAGS_epochs = default_epochs(FLAGS_epochs);
    // A run that is alive is named by the lock, which is taken before this is asked again.
    if (!lock_holder_of(FLAGS_run_dir)) refuse_old_run(FLAGS_run_dir);
  }
  FLAGS_dataset = std::filesystem::absolute(FLAGS_dataset).lexically_normal().string();
}

}  // namespace

std::vector<FlagSpec> run_flags() {
  std::vector<FlagSpec> flags = {dataset_flag(),
                                 run_dir_flag(),
                                 may_change({"resume", "Files", ""}),
                                 {"init_from", "Files", "FOLDER"},
                                 may_change({"dry_run", "Files", ""})};
  for (const std::vector<FlagSpec>& group :
       {model_flags(), training_flags(), running_flags(), cluster_flags()}) {
    flags.insert(flags.end(), group.begin(), group.end());
  }
  flags.push_back(k_flag());
  return flags;
}

RunConfig read_run_config(const Arguments& arguments) {
  complete_flags(arguments);
  RunConfig config;
  config.dataset = FLAGS_dataset;
  config.run_dir = FLAGS_run_dir;
  config.resume = FLAGS_resume;
  config.init_from = FLAGS_init_from;
  config.dry_run = FLAGS_dry_run;
  config.seed = FLAGS_seed;
  config.sharing = {FLAGS_partition, FLAGS_grid, FLAGS_reproducible};
  config.grid_of_old_run = FLAGS_resume && !arguments.is_given("grid");
  config.model = model_config_from_flags();
  config.item_regression = item_regression_from_flags();
  config.regression_weight = regression_weight_from_flags();
  config.training = training_config_from_flags();
  config.sampling = sampling_config_from_flags(FLAGS_seed);
  for (const int k : integer_list("k")) config.k.push_back(k);
  if (std::ranges::find(config.k, kValidationCutoff) == config.k.end()) {
    config.k.push_back(kValidationCutoff);
  }
  std::ranges::sort(config.k);
  config.job = job_options_from_flags("train");
  config.job.communicator.reproducible = FLAGS_reproducible;
  config.job.stop_signals = parse_signals(FLAGS_stop_signals).value();
  // A flagfile that reproduces the run starts it anew.
  FLAGS_resume = false;
  config.settings = settings_of(train_command());
  for (RunSetting& setting : config.settings) {
    // Without a decay that ends with them, more steps change nothing of those before.
    if (setting.name == "max_steps" && !config.training.lr_decay) {
      setting.on_resume = OnResume::may_change;
    }
  }
  config.flagfile = to_flagfile(train_command());
  return config;
}

}  // namespace micrec
