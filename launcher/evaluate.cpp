#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "evaluate/evaluator.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"

namespace micrec {
namespace {

int evaluate(const TrainedRunOptions& options, Split split, const std::vector<std::int64_t>& k,
             const std::string& out, Job& job) {
  const Timer timer;
  const auto run = open_trained_run(options, job);
  const Evaluator evaluator(
      run->dataset, run->summary.space, run->shard.ownership, job.rank(),
      {.split = split, .k = k, .with_new_nodes = true, .threads = job.threads()});
  const at::Tensor z = run->model->embeddings(run->epoch);
  const double ready_seconds = timer.seconds();
  Report report = evaluator.evaluate(z, job.communicator());
  if (!report.has_users()) {
    throw Error(Cause::data, text(run->dataset.path(), " has no interactions in '", name_of(split),
                                  "', so there is nothing to evaluate; prepare it with another "
                                  "--split, or try --split=",
                                  split == Split::test ? "valid" : "test"));
  }
  report.checkpoint = run->checkpoint;
  job.log_once() << report.to_table() << run->checkpoint << ", ranked in "
                 << in_time(timer.seconds() - ready_seconds) << " after " << in_time(ready_seconds)
                 << " of loading\n"
                 << std::flush;
  if (job.rank() == 0) {
    const std::string json = report.to_json().dump(2) + "\n";
    std::cout << json;
    if (!out.empty()) write_whole_file(out, json);
  }
  return 0;
}

int run_evaluate(const Arguments& arguments) {
  const TrainedRunOptions options = {.run_dir = FLAGS_run_dir,
                                     .checkpoint = FLAGS_checkpoint,
                                     .dataset = FLAGS_dataset,
                                     .out = FLAGS_out};
  const Split split = FLAGS_split == "test" ? Split::test : Split::valid;
  const std::vector<int> k = integer_list("k");
  check_output("--out", FLAGS_out, arguments, files_of_run(FLAGS_run_dir));
  return run_ranks_of("evaluate", [&](Job& rank) {
    return evaluate(options, split, {k.begin(), k.end()}, FLAGS_out, rank);
  });
}

}  // namespace

Command evaluate_command() {
  Command command;
  command.name = "evaluate";
  command.summary = "rank the whole catalogue for every user, exactly, and report the metrics";
  command.usage = "mpirun -np RANKS micrec evaluate --run_dir=FOLDER [flags]";
  command.example =
      "micrec evaluate --run_dir=runs/fk --split=test --k=10,20,50 --out=metrics.json";
  FlagSpec run_dir = run_dir_flag();
  run_dir.bound = required();
  FlagSpec dataset = dataset_flag();
  dataset.meaning = "the dataset, if it is no longer where it was in training";
  command.flags = {
      run_dir,
      checkpoint_flag(),
      dataset,
      out_flag("a file for the metrics too, which always go to standard output", false),
      {"split", "Results", "", one_of({"valid", "test"}), "test",
       "which interactions are to be found in the ranking"},
      k_flag(),
      device_flag(),
      threads_flag()};
  for (const FlagSpec& flag : cluster_flags()) command.flags.push_back(flag);
  command.run = run_evaluate;
  return command;
}

}  // namespace micrec
