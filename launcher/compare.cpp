#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "cluster/job.h"
#include "evaluate/comparison.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/evaluation.h"

namespace micrec {
namespace {

constexpr int kMostRuns = 64;

struct CompareOptions {
  std::string checkpoint = TrainedRunOptions().checkpoint;
  Split split = Split::test;
  std::vector<std::int64_t> k = {20};
  std::int64_t most_users = 0;
  std::vector<std::string> metrics = {"ndcg", "recall"};
  std::string json;
  std::uint64_t seed = 0;
  JobOptions job = job_of("compare");

  std::vector<std::string> runs;     // folders of runs, or files of metrics by user
  std::vector<std::string> columns;  // "ndcg@20", ...
};

/// Evaluates a run now. Ranks: collective; the users are on rank 0.
PerUserMetrics evaluate_folder(const std::string& folder, const CompareOptions& options, Job& job) {
  const auto run = open_trained_run(
      {.run_dir = folder, .checkpoint = options.checkpoint, .dataset = {}, .out = {}}, job);
  refuse_output_over_inputs("--json", options.json, {run->dataset.path()});
  const auto evaluation = evaluate_run(*run, options.split, options.k, options.most_users);
  if (!evaluation) throw nothing_to_evaluate(*run, options.split);
  return collect_per_user(evaluated_users(*run, *evaluation), options.columns, job.communicator(),
                          job.device());
}

int compare_runs(const CompareOptions& options, Job& job) {
  std::vector<NamedRun> runs;
  for (const std::string& path : options.runs) {
    if (is_folder(path)) {
      runs.push_back({path, evaluate_folder(path, options, job)});
    } else if (job.rank() == 0) {
      runs.push_back({path, read_per_user(path, options.columns)});
    }
  }
  if (job.rank() != 0) return 0;
  const Comparison comparison = compare(runs, {.seed = options.seed});
  std::cout << comparison.to_markdown();
  if (!options.json.empty()) write_whole_file(options.json, comparison.to_json().dump(2) + "\n");
  return 0;
}

std::string check_metrics(const std::string& value) {
  const auto is_known = [](const std::string& name) {
    return std::ranges::any_of(kMetrics, [&](Metric metric) { return name == name_of(metric); });
  };
  const std::vector<std::string> names = split(value, ',');
  const std::set<std::string> once(names.begin(), names.end());
  return !names.empty() && once.size() == names.size() && std::ranges::all_of(names, is_known)
             ? std::string()
             : "some of recall, ndcg, precision, hit_rate, mrr, map, with commas between";
}

int run_compare(CompareOptions& options, const Arguments& arguments) {
  options.runs = arguments.plain;
  for (const std::int64_t k : options.k) {
    for (const std::string& name : options.metrics) {
      options.columns.push_back(text(name, '@', k));
    }
  }
  std::vector<std::string> inputs;
  for (const std::string& path : options.runs) {
    if (is_folder(path)) {
      std::ranges::copy(files_of_run(path), std::back_inserter(inputs));
    } else {
      refuse_unreadable(path);
      inputs.push_back(path);
    }
  }
  check_output("--json", options.json, arguments, inputs);
  return run_job(options.job, [&](Job& rank) { return compare_runs(options, rank); });
}

}  // namespace

Command compare_command() {
  Command command;
  command.name = "compare";
  command.summary = "hold runs against the first of them, user by user, with intervals";
  command.usage = "micrec compare RUN_DIR|FILE RUN_DIR|FILE ... [flags]";
  command.example = "micrec compare runs/mf runs/fk --json=comparison.json";
  command.min_arguments = 2;
  command.max_arguments = kMostRuns;
  command.arguments =
      "folders of runs, which are evaluated now, or files that evaluate --per_user wrote";
  const auto options = std::make_shared<CompareOptions>();
  Flag seed = seed_flag(options->seed);
  seed.meaning = "of the bootstrap samples; the same seed gives the same intervals";
  command.flags = {
      {"json", "Results", "FILE",
       "a JSON file for all of it, with slices that the tables leave out", options->json},
      k_flag(options->k),
      most_users_flag(options->most_users),
      {"metrics", "Results", "",
       "which metrics, with commas between: recall, ndcg, precision, hit_rate, mrr, map",
       options->metrics, written_as("names with commas between", check_metrics)},
      split_flag(options->split,
                 "which interactions of a run folder are to be found in the ranking"),
      checkpoint_flag(options->checkpoint),
      seed,
      device_flag(options->job),
      threads_flag(options->job.threads)};
  command.flags = command.flags + cluster_flags(options->job);
  command.run = [options](const Arguments& arguments) { return run_compare(*options, arguments); };
  return command;
}

}  // namespace micrec
