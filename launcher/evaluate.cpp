#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/evaluation.h"

namespace micrec {
namespace {

struct EvaluateOptions {
  TrainedRunOptions run;
  Split split = Split::test;
  std::vector<std::int64_t> k;
};

int evaluate(const EvaluateOptions& options, Job& job) {
  const Timer timer;
  const auto run = open_trained_run(options.run, job);
  const auto evaluation = evaluate_run(*run, options.split, options.k);
  if (!evaluation) {
    throw Error(Cause::data,
                text(run->dataset.path(), " has no interactions in '", name_of(options.split),
                     "', so there is nothing to evaluate; prepare it with another "
                     "--split, or try --split=",
                     options.split == Split::test ? "valid" : "test"));
  }
  const double ranking_seconds = evaluation->ranking_seconds;
  job.log_once() << evaluation->report.to_table() << run->checkpoint << ", ranked in "
                 << in_time(ranking_seconds) << " after "
                 << in_time(timer.seconds() - ranking_seconds) << " of loading\n"
                 << std::flush;
  if (job.rank() != 0) return 0;
  const std::string json = evaluation->report.to_json().dump(2) + "\n";
  std::cout << json;
  if (!options.run.out.empty()) write_whole_file(options.run.out, json);
  return 0;
}

int run_evaluate(const Arguments& arguments) {
  const std::vector<int> k = integer_list("k");
  const EvaluateOptions options = {.run = trained_run_from_flags(arguments),
                                   .split = FLAGS_split == "test" ? Split::test : Split::valid,
                                   .k = {k.begin(), k.end()}};
  return run_ranks_of("evaluate", [&](Job& rank) { return evaluate(options, rank); });
}

}  // namespace

Command evaluate_command() {
  Command command;
  command.name = "evaluate";
  command.summary = "rank the whole catalogue for every user, exactly, and report the metrics";
  command.usage = "mpirun -np RANKS micrec evaluate --run_dir=FOLDER [flags]";
  command.example =
      "micrec evaluate --run_dir=runs/fk --split=test --k=10,20,50 --out=metrics.json";
  command.flags = trained_run_flags(
      {out_flag("a file for the metrics too, which always go to standard output", false),
       {"split", "Results", "", one_of({"valid", "test"}), "test",
        "which interactions are to be found in the ranking"},
       k_flag()});
  command.run = run_evaluate;
  return command;
}

}  // namespace micrec
