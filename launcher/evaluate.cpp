#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "evaluate/per_user_file.h"
#include "io/paths.h"
#include "io/result_file.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "run/run_config.h"
#include "serve/evaluation.h"

namespace micrec {
namespace {

struct EvaluateOptions {
  TrainedRunOptions run;
  Split split = Split::test;
  std::vector<std::int64_t> k = RunConfig().k;
  std::int64_t most_users = 0;
  std::string per_user;
  JobOptions job = job_of("evaluate");
};

int evaluate(const EvaluateOptions& options, Job& job) {
  const Timer timer;
  const auto run = open_trained_run(options.run, job);
  refuse_output_over_inputs("--per_user", options.per_user, {run->dataset.path()});
  const auto evaluation = evaluate_run(*run, options.split, options.k, options.most_users);
  if (!evaluation) throw nothing_to_evaluate(*run, options.split);
  const double ranking_seconds = evaluation->ranking_seconds;
  job.log_once() << evaluation->report.to_table() << run->checkpoint << ", ranked in "
                 << in_time(ranking_seconds) << " after "
                 << in_time(timer.seconds() - ranking_seconds) << " of loading\n"
                 << std::flush;
  if (!options.per_user.empty()) {
    write_per_user(evaluated_users(*run, *evaluation), options.per_user, job.communicator(),
                   job.device());
  }
  if (job.rank() != 0) return 0;
  const std::string json = evaluation->report.to_json().dump(2) + "\n";
  std::cout << json;
  if (!options.run.out.empty()) write_whole_file(options.run.out, json);
  return 0;
}

int run_evaluate(const EvaluateOptions& options, const Arguments& arguments) {
  const TrainedRunOptions& run = options.run;
  check_output_of_run(run, arguments);
  check_output("--per_user", options.per_user, arguments, inputs_of_run(run));
  refuse_one_file_for_two("--out", run.out, "--per_user", options.per_user);
  return run_job(options.job, [&](Job& rank) { return evaluate(options, rank); });
}

}  // namespace

Command evaluate_command() {
  Command command;
  command.name = "evaluate";
  command.summary = "rank the whole catalogue for every user, exactly, and report the metrics";
  command.usage = "mpirun -np RANKS micrec evaluate --run_dir=FOLDER [flags]";
  command.example =
      "micrec evaluate --run_dir=runs/fk --split=test --k=10,20,50 --out=metrics.json";
  const auto options = std::make_shared<EvaluateOptions>();
  const std::vector<Flag> own = {
      out_flag(options->run.out, "a file for the metrics too, which always go to standard output",
               false),
      {"per_user", "Files", "FILE",
       "an HDF5 file for the metrics of every user, which micrec compare pairs with those of "
       "another run",
       options->per_user},
      split_flag(options->split, "which interactions are to be found in the ranking"),
      k_flag(options->k),
      most_users_flag(options->most_users)};
  command.flags =
      trained_run_flags(options->run, own + addition_flags(options->run.later), options->job);
  command.run = [options](const Arguments& arguments) { return run_evaluate(*options, arguments); };
  return command;
}

}  // namespace micrec
