#include "run/plan.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/thread_communicator.h"
#include "data/partition_file.h"
#include "io/unfinished_file.h"
#include "train/plan/calibration.h"
#include "train/plan/plan_report.h"
#include "train/plan/run_planner.h"

namespace micrec {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

Rates rates_of(const PlanOptions& options, int dim) {
  Rates rates;
  rates.origin = "default rates; --calibrate measures this machine";
  if (options.calibrate) {
    const Timer timer;
    rates.numbers = calibrate(dim);
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

}  // namespace

void plan(const PlanOptions& options, std::ostream& out, std::ostream& log) {
  const ComputeThreads threads(options.threads);
  const RunConfig& run = options.run;
  const std::string& partition = run.sharing.partition;
  const std::string& grid = run.sharing.grid;
  if (grid != "auto") parse_grid_for(run.model, grid, options.ranks);
  const TrainingTask task(run.dataset, run.model, run.sampling, run.item_regression, run.seed);
  const std::vector<ProcessGrid> grids =
      grid == "auto" ? grids_for(partition, options.ranks, task.model)
                     : std::vector{parse_grid_for(task.model, grid, options.ranks)};
  const Rates rates = rates_of(options, task.model.dim);
  const double limit = options.memory_gib * kGiB;

  RunPlanner planner(task, rates.numbers);
  const GridChoice choice = planner.choose(partition, grids, limit);
  std::string refusal;
  if (!choice.fits) {
    refusal = why_not(planner.candidate(partition, choice.grid).plan, limit) + "; ";
    refusal += planner.what_fits(options.ranks, limit);
  }
  // A grid is chosen as train chooses it; what is told of it is as exact as can be.
  planner.find_neighbours();
  const std::vector<const Candidate*> others =
      planner.alternatives(partition, choice.grid, options.compare);
  const Candidate& chosen = planner.candidate(partition, choice.grid);

  print_task(out, task);
  const std::optional<FitPlan> fit = planner.fit(chosen);
  const PlanReport report{chosen, choice, others, rates, fit};
  report.print(out);
  if (!options.out.empty()) write_whole_file(options.out, report.to_json().dump(2) + "\n");
  if (!options.write_partition.empty()) {
    const NodeSpace& space = task.summary.space;
    write_partition_file(options.write_partition, task.dataset, space, chosen.rows);
    log << options.write_partition << ": " << with_commas(space.nodes()) << " users and items in "
        << chosen.rows.ranks << (chosen.rows.ranks == 1 ? " part\n" : " parts\n");
  }
  if (!refusal.empty()) throw Error(Cause::usage, refusal);
}

}  // namespace micrec
