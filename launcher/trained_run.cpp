#include "launcher/trained_run.h"

#include <algorithm>
#include <utility>

#include "launcher/additions.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/train_flags.h"

namespace micrec {
namespace {

/// Sets the flags that decide what the model computes as the checkpoint's run had them.
ModelConfig read_model_flags(const std::string& settings, const std::string& origin) {
  const std::vector<FlagSpec> specs = model_flags();
  const Command command = train_command();
  for (const FlagSetting& setting : parse_flagfile(settings, origin)) {
    if (std::ranges::find(specs, setting.name, &FlagSpec::name) != specs.end()) {
      set_flag(command, setting);
    }
  }
  return model_config_from_flags();
}

}  // namespace

int run_ranks_of(const std::string& command, const std::function<int(Job&)>& body) {
  return run_job(0, nullptr, job_options_from_flags(command), body);
}

std::vector<FlagSpec> trained_run_flags(const std::vector<FlagSpec>& own) {
  FlagSpec run_dir = run_dir_flag();
  run_dir.bound = required();
  FlagSpec dataset = dataset_flag();
  dataset.meaning = "the dataset, if it is no longer where it was in training";
  std::vector<FlagSpec> flags = {run_dir, checkpoint_flag(), dataset};
  flags.insert(flags.end(), own.begin(), own.end());
  const std::vector<FlagSpec> additions = addition_flags();
  flags.insert(flags.end(), additions.begin(), additions.end());
  flags.insert(flags.end(), {device_flag(), threads_flag()});
  const std::vector<FlagSpec> cluster = cluster_flags();
  flags.insert(flags.end(), cluster.begin(), cluster.end());
  return flags;
}

std::vector<std::string> inputs_of_run() {
  std::vector<std::string> inputs = files_of_run(FLAGS_run_dir);
  for (std::string& path : files_of_additions()) inputs.push_back(std::move(path));
  return inputs;
}

TrainedRunOptions trained_run_from_flags(const Arguments& arguments) {
  check_output("--out", FLAGS_out, arguments, inputs_of_run());
  return {.run_dir = FLAGS_run_dir,
          .checkpoint = FLAGS_checkpoint,
          .dataset = FLAGS_dataset,
          .out = FLAGS_out,
          .read_additions = additions_from_flags()};
}

std::unique_ptr<TrainedRun> open_trained_run(TrainedRunOptions options, Job& job) {
  if (!options.read_settings) options.read_settings = read_model_flags;
  options.threads = job.threads();
  options.device = job.device();
  options.report = &job.log_once();
  return open_trained_run(options, job.communicator());
}

}  // namespace micrec
