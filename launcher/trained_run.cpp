#include "launcher/trained_run.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "command_line/command.h"
#include "launcher/common_flags.h"
#include "launcher/run_flags.h"
#include "serve/later_files.h"

namespace micrec {
namespace {

/// What the settings of a run give its model.
ModelConfig read_model_settings(const std::string& settings, const std::string& origin) {
  RunConfig config;
  Command train;
  train.name = "train";
  train.flags = model_flags(config);
  for (const FlagSetting& setting : parse_flagfile(settings, origin)) {
    if (find_flag(train, setting.name) != nullptr) set_flag(train, setting);
  }
  return config.model;
}

}  // namespace

void require_one_process(const std::string& command, const Job& job) {
  if (job.world_size() == 1) return;
  throw Error(Cause::usage, command, " runs as one process, but was started as ", job.world_size(),
              "; start it without mpirun");
}

std::vector<Flag> trained_run_flags(TrainedRunOptions& run, const std::vector<Flag>& own,
                                    JobOptions& job) {
  Flag run_dir = run_dir_flag(run.run_dir);
  run_dir.bound = required();
  Flag dataset = dataset_flag(run.dataset);
  dataset.meaning = "the dataset, if it is no longer where it was in training";
  return std::vector{run_dir, checkpoint_flag(run.checkpoint), dataset} + own +
         std::vector{device_flag(job), threads_flag(job.threads)} + cluster_flags(job);
}

std::vector<std::string> inputs_of_run(const TrainedRunOptions& run) {
  std::vector<std::string> inputs = files_of_run(run.run_dir);
  for (std::string& path : files_of(run.later)) inputs.push_back(std::move(path));
  return inputs;
}

void check_output_of_run(const TrainedRunOptions& run, const Arguments& arguments) {
  check_output("--out", run.out, arguments, inputs_of_run(run));
}

std::vector<int> domains_named(const std::string& domain, const DatasetFile& dataset) {
  if (!domain.empty()) return {dataset.domain_number(domain)};
  std::vector<int> all(dataset.domains().size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::unique_ptr<TrainedRun> open_trained_run(TrainedRunOptions options, Job& job) {
  if (!options.read_settings) options.read_settings = read_model_settings;
  options.device = job.device();
  if (!options.read_additions) options.read_additions = additions_reader(options.later);
  options.report = &job.log_once();
  return open_trained_run(options, job.communicator());
}

}  // namespace micrec
