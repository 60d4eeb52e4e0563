#include <gflags/gflags.h>

#include <algorithm>
#include <iostream>
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
#include "launcher/train_flags.h"
#include "launcher/trained_run.h"
#include "train/calibration.h"
#include "train/plan_report.h"
#include "train/run_planner.h"

DECLARE_int64(batch);
DECLARE_string(grid);
DECLARE_string(partition);
DEFINE_int32(ranks, 1, "ranks to plan for; none is started");
DEFINE_double(memory, 0, "memory that each rank may take; 0: as much as it needs");
DEFINE_bool(compare, false,
            "plan for METIS too, beside hash and balanced, and say what each costs");
DEFINE_string(write_partition, "",
              "write the assignment to this file, for train --partition=file:FILE");
DEFINE_bool(calibrate, false,
            "measure this machine for a second or two, and predict with its rates");
DEFINE_double(neighbour_rate, 0,
              "rows that a rank's neighbour sums read; 0: calibrated or default");
DEFINE_double(matrix_rate, 0, "operations of a rank's matrix products; 0: calibrated or default");
DEFINE_double(copy_rate, 0, "what a rank copies in memory; 0: calibrated or default");
DEFINE_double(bandwidth, 0, "what a rank sends to other ranks; 0: calibrated or default");
DEFINE_double(latency, 0, "time of one message, however small; 0: calibrated or default");

namespace micrec {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

Rates rates_from_flags(int dim) {
  Rates rates;
  rates.origin = "default rates; --calibrate measures this machine";
  if (FLAGS_calibrate) {
    const Timer timer;
    rates.numbers = calibrate(dim, FLAGS_threads);
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
  const auto take = [&](double flag, double unit, double& number) {
    if (flag <= 0) return;
    number = flag * unit;
    is_given = true;
  };
  take(FLAGS_neighbour_rate, 1e9, rates.numbers.neighbour_bytes_per_second);
  take(FLAGS_matrix_rate, 1e9, rates.numbers.matrix_operations_per_second);
  take(FLAGS_copy_rate, 1e9, rates.numbers.copy_bytes_per_second);
  take(FLAGS_bandwidth, 1e9, rates.numbers.network_bytes_per_second);
  take(FLAGS_latency, 1e-6, rates.numbers.message_seconds);
  if (is_given) rates.origin += ", but for those given";
  return rates;
}

/// What would fit instead, found by planning it; with the balanced partition, which any number of
/// parts can have.
std::string what_fits(RunPlanner& planner, int ranks, const ModelConfig& model, double limit) {
  constexpr int kMostDoublings = 7;
  for (int more = 1; more <= kMostDoublings; ++more) {
    const int tried = ranks << more;
    const GridChoice choice =
        planner.choose("balanced", grids_for("balanced", tried, model), limit);
    if (choice.fits) {
      return text("--ranks=", tried, " would fit as ", to_text(choice.grid),
                  ", or try a smaller --dim");
    }
  }
  return text("not even ", with_commas(std::int64_t{ranks} << kMostDoublings),
              " ranks would fit; try a smaller --dim, or give the ranks more memory");
}

/// The chosen partitioner beside others, on the chosen grid; none where that shares out no rows.
std::vector<const Candidate*> alternatives(RunPlanner& planner, ProcessGrid grid) {
  if (grid.rows == 1) return {};
  std::vector<std::string> partitions = {"hash", "balanced"};
  if (FLAGS_compare) partitions.push_back("metis");
  if (std::ranges::find(partitions, FLAGS_partition) == partitions.end()) {
    partitions.push_back(FLAGS_partition);
  }
  std::vector<const Candidate*> candidates;
  for (const std::string& partition : partitions) {
    candidates.push_back(&planner.candidate(partition, grid));
  }
  return candidates;
}

void check_outputs(const Arguments& arguments) {
  const std::vector<std::string> inputs = {FLAGS_dataset, file_of_partition(FLAGS_partition)};
  check_output("--out", FLAGS_out, arguments, inputs);
  check_output("--write_partition", FLAGS_write_partition, arguments, inputs);
  refuse_one_file_for_two("--out", FLAGS_out, "--write_partition", FLAGS_write_partition);
}

int run_plan(const Arguments& arguments) {
  complete_item_regression(arguments);
  if (FLAGS_grid != "auto") parse_grid_for(model_config_from_flags(), FLAGS_grid, FLAGS_ranks);
  check_outputs(arguments);
  const DatasetFile dataset = DatasetFile::open(FLAGS_dataset);
  const DatasetSummary summary = summarise(dataset);
  ModelConfig model = model_config_from_flags();
  model.modalities = resolve_modalities(model.modalities, dataset);
  model = resolve(model, summary.space.domains());
  const std::vector<ProcessGrid> grids =
      FLAGS_grid == "auto" ? grids_for(FLAGS_partition, FLAGS_ranks, model)
                           : std::vector{parse_grid_for(model, FLAGS_grid, FLAGS_ranks)};
  const Rates rates = rates_from_flags(model.dim);
  const double limit = FLAGS_memory * kGiB;

  RunPlanner planner(dataset, summary, model,
                     sampling_of(model, summary, sampling_config_from_flags(0)), rates.numbers);
  const GridChoice choice = planner.choose(FLAGS_partition, grids, limit);
  std::string refusal;
  if (!choice.fits) {
    refusal = why_not(planner.candidate(FLAGS_partition, choice.grid).plan, limit) + "; ";
    refusal += what_fits(planner, FLAGS_ranks, model, limit);
  }
  // A grid is chosen as train chooses it; what is told of it is as exact as can be.
  planner.find_neighbours(chosen_threads());
  const std::vector<const Candidate*> others = alternatives(planner, choice.grid);
  const Candidate& chosen = planner.candidate(FLAGS_partition, choice.grid);

  print_dataset(std::cout, dataset, model, FLAGS_batch);
  const PlanReport report{chosen, choice, others, rates};
  report.print(std::cout);
  if (!FLAGS_out.empty()) write_whole_file(FLAGS_out, report.to_json().dump(2) + "\n");
  if (!FLAGS_write_partition.empty()) {
    write_partition_file(FLAGS_write_partition, dataset, summary.space, chosen.rows);
    std::cerr << FLAGS_write_partition << ": " << with_commas(summary.space.nodes())
              << " users and items in " << chosen.rows.ranks
              << (chosen.rows.ranks == 1 ? " part\n" : " parts\n");
  }
  if (!refusal.empty()) throw Error(Cause::usage, refusal);
  return 0;
}

}  // namespace

Command plan_command() {
  Command command;
  command.name = "plan";
  command.summary =
      "say who would own what, what would be sent, and whether it fits; starts no rank";
  command.usage = "micrec plan --dataset=FILE --ranks=N [flags]";
  command.example = "micrec plan --dataset=fk.h5 --ranks=64 --memory=4 --partition=metis";
  FlagSpec dataset = dataset_flag();
  dataset.bound = required();
  command.flags = {dataset,
                   out_flag("a JSON file with all numbers of the plan, for programs", false),
                   {"write_partition", "Files", "FILE"},
                   {"ranks", "Distribution", "ranks", between(1, 65536)},
                   {"grid", "Distribution", "", written_as("auto or RxC")},
                   partition_flag(),
                   {"compare", "Distribution", ""},
                   {"memory", "Distribution", "GiB", at_least(0)},
                   {"calibrate", "Machine", ""},
                   {"neighbour_rate", "Machine", "GB/s", at_least(0)},
                   {"matrix_rate", "Machine", "Gop/s", at_least(0)},
                   {"copy_rate", "Machine", "GB/s", at_least(0)},
                   {"bandwidth", "Machine", "GB/s", at_least(0)},
                   {"latency", "Machine", "us", at_least(0)}};
  FlagSpec threads = threads_flag();
  threads.group = "Machine";
  threads.bound = between(1, 1024);
  threads.default_value = "1";
  threads.meaning = "threads of each rank that --calibrate measures with";
  command.flags.push_back(threads);
  for (const FlagSpec& spec : model_flags()) command.flags.push_back(spec);
  for (const FlagSpec& spec : training_flags()) {
    if (spec.name == "batch" || spec.name == "sampling") command.flags.push_back(spec);
  }
  command.run = run_plan;
  return command;
}

}  // namespace micrec
