#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/thread_communicator.h"
#include "data/partition_file.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/run_flags.h"
#include "launcher/trained_run.h"
#include "train/calibration.h"
#include "train/plan_report.h"
#include "train/run_planner.h"

namespace micrec {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

struct PlanOptions {
  RunConfig run;  // what is planned: its model, batches, partition and grid
  std::string out;
  std::string write_partition;
  int ranks = 1;
  bool compare = false;
  double memory_gib = 0;  // 0: as much as it needs
  // Of the machine; 0: calibrated or default.
  bool calibrate = false;
  int threads = 1;
  double neighbour_rate = 0;  // GB/s
  double matrix_rate = 0;     // Gop/s
  double copy_rate = 0;       // GB/s
  double bandwidth = 0;       // GB/s
  double latency = 0;         // us
};

Rates rates_of(const PlanOptions& options, int dim) {
  Rates rates;
  rates.origin = "default rates; --calibrate measures this machine";
  if (options.calibrate) {
    const Timer timer;
    rates.numbers = calibrate(dim, options.threads);
    run_ranks(2, [&](Communicator& pair) {
      MachineRates measured;
      calibrate_messages(pair, measured);
      if (pair.rank() != 0) return;
      rates.numbers.message_seconds = measured.message_seconds;
      rates.numbers.network_bytes_per_second = measured.network_bytes_per_second;
    });
    rates.origin = text("rates measured here in ", in_time(timer.seconds()));
  }
  bool is_given = false;
  const auto take = [&](double given, double unit, double& number) {
    if (given <= 0) return;
    number = given * unit;
    is_given = true;
  };
  take(options.neighbour_rate, 1e9, rates.numbers.neighbour_bytes_per_second);
  take(options.matrix_rate, 1e9, rates.numbers.matrix_operations_per_second);
  take(options.copy_rate, 1e9, rates.numbers.copy_bytes_per_second);
  take(options.bandwidth, 1e9, rates.numbers.network_bytes_per_second);
  take(options.latency, 1e-6, rates.numbers.message_seconds);
  if (is_given) rates.origin += ", but for those given";
  return rates;
}

void check_outputs(const PlanOptions& options, const Arguments& arguments) {
  const std::vector<std::string> inputs = {options.run.dataset,
                                           file_of_partition(options.run.sharing.partition)};
  check_output("--out", options.out, arguments, inputs);
  check_output("--write_partition", options.write_partition, arguments, inputs);
  refuse_one_file_for_two("--out", options.out, "--write_partition", options.write_partition);
}

int run_plan(PlanOptions& options, const Command& table, const Arguments& arguments) {
  RunConfig& run = options.run;
  const std::string& partition = run.sharing.partition;
  const std::string& grid = run.sharing.grid;
  complete_item_regression(run.model, arguments);
  if (grid != "auto") parse_grid_for(run.model, grid, options.ranks);
  check_outputs(options, arguments);
  for (const std::string& idle : idle_flags(table, arguments)) std::cerr << idle << "\n";
  const DatasetFile dataset = DatasetFile::open(run.dataset);
  const DatasetSummary summary = summarise(dataset);
  run.model.modalities = resolve_modalities(run.model.modalities, dataset);
  const ModelConfig model = resolve(run.model, summary.space.domains());
  const std::vector<ProcessGrid> grids =
      grid == "auto" ? grids_for(partition, options.ranks, model)
                     : std::vector{parse_grid_for(model, grid, options.ranks)};
  const Rates rates = rates_of(options, model.dim);
  const double limit = options.memory_gib * kGiB;

  RunPlanner planner(dataset, summary, model, sampling_of(model, summary, run.sampling),
                     rates.numbers);
  const GridChoice choice = planner.choose(partition, grids, limit);
  std::string refusal;
  if (!choice.fits) {
    refusal = why_not(planner.candidate(partition, choice.grid).plan, limit) + "; ";
    refusal += planner.what_fits(options.ranks, limit);
  }
  // A grid is chosen as train chooses it; what is told of it is as exact as can be.
  planner.find_neighbours(chosen_threads(options.threads));
  const std::vector<const Candidate*> others =
      planner.alternatives(partition, choice.grid, options.compare);
  const Candidate& chosen = planner.candidate(partition, choice.grid);

  print_dataset(std::cout, dataset, model, run.sampling.batch_size);
  const PlanReport report{chosen, choice, others, rates};
  report.print(std::cout);
  if (!options.out.empty()) write_whole_file(options.out, report.to_json().dump(2) + "\n");
  if (!options.write_partition.empty()) {
    write_partition_file(options.write_partition, dataset, summary.space, chosen.rows);
    std::cerr << options.write_partition << ": " << with_commas(summary.space.nodes())
              << " users and items in " << chosen.rows.ranks
              << (chosen.rows.ranks == 1 ? " part\n" : " parts\n");
  }
  if (!refusal.empty()) throw Error(Cause::usage, refusal);
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
  command.run = [options, table = command](const Arguments& arguments) {
    return run_plan(*options, table, arguments);
  };
  return command;
}

}  // namespace micrec
