#include "run/plan.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "io/result_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/complete_run.h"
#include "launcher/run_flags.h"

namespace micrec {
namespace {

void check_outputs(const PlanOptions& options, const Arguments& arguments) {
  const std::vector<std::string> inputs = {options.run.dataset,
                                           file_of_partition(options.run.sharing.partition)};
  check_output("--out", options.out, arguments, inputs);
  check_output("--write_partition", options.write_partition, arguments, inputs);
  refuse_one_file_for_two("--out", options.out, "--write_partition", options.write_partition);
}

int run_plan(PlanOptions& options, const Command& table, const Arguments& arguments) {
  complete_item_regression(options.run.model, arguments);
  check_outputs(options, arguments);
  for (const std::string& idle : idle_flags(table, arguments)) std::cerr << idle << "\n";
  plan(options, std::cout, std::cerr);
  return 0;
}

std::vector<Flag> flags_of(PlanOptions& options) {
  Flag dataset = dataset_flag(options.run.dataset);
  dataset.bound = required();
  std::vector<Flag> flags = {
      dataset,
      out_flag(options.out, "a JSON file with all numbers of the plan, for programs", false),
      {"write_partition", "Files", "FILE",
       "write the assignment to this file, for train --partition=file:FILE",
       options.write_partition},
      {"ranks", "Distribution", "ranks", "ranks to plan for; none is started", options.ranks,
       between(1, 65536)},
      grid_flag(options.run.sharing),
      partition_flag(options.run.sharing),
      {"compare", "Distribution", "",
       "plan for METIS too, beside hash and balanced, and say what each costs", options.compare},
      {"memory", "Distribution", "GiB", "memory that each rank may take; 0: as much as it needs",
       options.memory_gib, at_least(0)},
      {"calibrate", "Machine", "",
       "measure this machine for a second or two, and predict with its rates", options.calibrate},
      {"neighbour_rate", "Machine", "GB/s",
       "rows that a rank's neighbour sums read; 0: calibrated or default", options.neighbour_rate,
       at_least(0)},
      {"matrix_rate", "Machine", "Gop/s",
       "operations of a rank's matrix products; 0: calibrated or default", options.matrix_rate,
       at_least(0)},
      {"copy_rate", "Machine", "GB/s", "what a rank copies in memory; 0: calibrated or default",
       options.copy_rate, at_least(0)},
      {"bandwidth", "Machine", "GB/s", "what a rank sends to other ranks; 0: calibrated or default",
       options.bandwidth, at_least(0)},
      {"latency", "Machine", "us", "time of one message, however small; 0: calibrated or default",
       options.latency, at_least(0)},
      {"threads", "Machine", "threads", "threads of each rank that --calibrate measures with",
       options.threads, between(1, 1024)}};
  flags = flags + model_flags(options.run);
  for (const Flag& flag : training_flags(options.run)) {
    if (flag.name == "batch" || flag.name == "sampling") flags.push_back(flag);
  }
  return flags;
}

}  // namespace

Command plan_command() {
  Command command;
  command.name = "plan";
  command.summary =
      "say who would own what, what would be sent, and whether it fits; starts no rank";
  command.usage = "micrec plan --dataset=FILE --ranks=N [flags]";
  command.example = "micrec plan --dataset=fk.h5 --ranks=64 --memory=4 --partition=metis";
  const auto options = std::make_shared<PlanOptions>();
  command.flags = flags_of(*options);
  command.tells_idle_flags = true;
  command.run = [options, table = command](const Arguments& arguments) {
    return run_plan(*options, table, arguments);
  };
  return command;
}

}  // namespace micrec
