#include <gflags/gflags.h>

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/table.h"
#include "base/text.h"
#include "base/timer.h"
#include "data/partition_file.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/assignment.h"
#include "launcher/calibration.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/plan_inputs.h"
#include "launcher/train_flags.h"
#include "launcher/trained_run.h"
#include "partition/planning/run_plan.h"

DECLARE_int32(dim);
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

using nlohmann::ordered_json;

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr int kIndent = 10;
constexpr int kMostRanksListed = 16;

/// One assignment on one grid, planned.
struct Candidate {
  std::string partition;
  double seconds = 0;  ///< to make the assignment
  Ownership rows;
  GridPlan plan;
};

/// Makes candidates, each assignment once.
class Planner {
 public:
  Planner(const DatasetFile& dataset, const DatasetSummary& summary, const PlanInputs& inputs,
          const MachineRates& rates)
      : dataset_(dataset), summary_(summary), inputs_(inputs), rates_(rates) {}

  const Candidate& candidate(const std::string& partition, ProcessGrid grid) {
    const std::pair<std::string, int> key(partition, grid.columns);
    const auto known = candidates_.find(key);
    if (known != candidates_.end() && known->second.plan.grid.rows == grid.rows) {
      return known->second;
    }
    const Timer timer;
    Ownership rows = make_assignment(partition, dataset_, summary_, grid.rows, &inputs_.graph);
    const double seconds = timer.seconds();
    GridPlan plan = plan_grid(inputs_, rows, grid, rates_);
    Candidate made{partition, seconds, std::move(rows), std::move(plan)};
    return candidates_.insert_or_assign(key, std::move(made)).first->second;
  }

  GridChoice choose(const std::string& partition, const std::vector<ProcessGrid>& grids,
                    double memory_limit_bytes) {
    return choose_grid(grids, memory_limit_bytes,
                       [&](ProcessGrid grid) { return candidate(partition, grid).plan.cost(); });
  }

 private:
  const DatasetFile& dataset_;
  const DatasetSummary& summary_;
  const PlanInputs& inputs_;
  MachineRates rates_;
  std::map<std::pair<std::string, int>, Candidate> candidates_;  // by partition and columns
};

struct Rates {
  MachineRates numbers;
  std::string origin;
};

Rates rates_from_flags(int dim) {
  Rates rates;
  rates.origin = "default rates; --calibrate measures this machine";
  if (FLAGS_calibrate) {
    const Timer timer;
    rates.numbers = calibrate(dim, FLAGS_threads);
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

std::string fixed(double number, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << number;
  return out.str();
}

std::string whole(double number) { return with_commas(static_cast<std::int64_t>(number + 0.5)); }

std::string bytes_or_none(double bytes) { return bytes > 0 ? in_bytes(bytes) : "0"; }

void print_dataset(std::ostream& out, const DatasetFile& dataset, const ModelConfig& model) {
  out << "dataset   " << dataset.path() << "  (" << dataset.fingerprint() << ")\n";
  for (const DomainInfo& domain : dataset.domains()) {
    out << "          " << domain.name << ": " << with_commas(domain.users) << " users, "
        << with_commas(domain.items) << " items, "
        << with_commas(domain.interactions[static_cast<int>(Split::train)])
        << " training interactions\n";
  }
  out << "model     " << name_of(model.kind) << ", " << model.dim << " columns, " << model.layers
      << " layers, batch " << with_commas(FLAGS_batch)
      << (model.modalities.empty() ? "" : ", modalities " + join(model.modalities, ", ")) << "\n";
}

void print_grids(std::ostream& out, const GridChoice& choice) {
  out << "grid      " << choice.reason << "\n";
  if (choice.costs.size() < 2) return;
  Table table({"grid", "step", "sent a step, busiest rank", "memory, fullest rank"}, kIndent);
  for (const GridCost& cost : choice.costs) {
    table.add({to_text(cost.grid), in_time(cost.step_seconds),
               bytes_or_none(cost.most_bytes_a_step), in_bytes(cost.most_memory_bytes)});
  }
  table.print(out);
}

void print_partitioners(std::ostream& out, const std::vector<const Candidate*>& candidates) {
  out << "shares    by partitioner; balance is the heaviest rank over the mean\n";
  Table table({"partition", "halo rows", "sent a step, all ranks", "busiest rank", "nonzeros",
               "rows", "memory", "made in"},
              kIndent);
  for (const Candidate* candidate : candidates) {
    const GridPlan& plan = candidate->plan;
    table.add({candidate->partition, with_commas(plan.needs.halo.total()),
               bytes_or_none(plan.bytes.total()), bytes_or_none(plan.bytes.most()),
               fixed(plan.balance.nonzeros, 3), fixed(plan.balance.rows, 3),
               fixed(plan.balance.memory, 3), in_time(candidate->seconds)});
  }
  table.print(out);
}

void print_ranks(std::ostream& out, const Candidate& chosen) {
  const GridPlan& plan = chosen.plan;
  const int ranks = plan.grid.ranks();
  const std::vector<double> sent = plan.bytes.bytes_of_ranks();
  out << "ranks     " << with_commas(ranks) << " as " << to_text(plan.grid) << ", "
      << chosen.partition << " partition\n";
  Table table({"rank", "users", "items", "nonzeros", "halo rows", "sent a step", "memory", "step"},
              kIndent);
  const auto add = [&](int rank) {
    const int row = plan.grid.row_part(rank);
    const RankLoad& load = plan.loads[row];
    table.add({std::to_string(rank), with_commas(load.users), with_commas(load.items),
               with_commas(load.nonzeros), with_commas(plan.needs.halo.received[row]),
               bytes_or_none(sent.empty() ? 0 : sent[rank]), in_bytes(plan.memory[rank].peak()),
               in_time(plan.time[rank].total())});
  };
  if (ranks <= kMostRanksListed) {
    for (int rank = 0; rank < ranks; ++rank) add(rank);
  } else {
    std::vector<int> by_memory(ranks);
    for (int rank = 0; rank < ranks; ++rank) by_memory[rank] = rank;
    std::ranges::stable_sort(by_memory, {}, [&](int rank) { return plan.memory[rank].peak(); });
    for (const int place : {0, ranks / 2, ranks - 1}) add(by_memory[place]);
    const int slowest = plan.slowest_rank();
    if (slowest != by_memory.back()) add(slowest);
    out << "          those with least, median and most memory, and the slowest\n";
  }
  table.print(out);
}

void print_memory(std::ostream& out, const GridPlan& plan) {
  const RankMemory& fullest = plan.memory[plan.fullest_rank()];
  out << "memory    of the fullest rank, " << plan.fullest_rank() << ": "
      << in_bytes(fullest.peak()) << "\n";
  Table table({"kind", "bytes"}, kIndent);
  for (int kind = 0; kind < kMemoryKinds; ++kind) {
    const double bytes = fullest.bytes[kind];
    if (bytes > 0) table.add({name_of(static_cast<MemoryKind>(kind)), in_bytes(bytes)});
  }
  table.print(out);
  out << "          loading, a step with its halo buffers, and evaluation take turns\n";
}

void print_bytes(std::ostream& out, const GridPlan& plan) {
  if (plan.bytes.collectives.empty()) {
    out << "bytes     one rank sends nothing\n";
    return;
  }
  out << "bytes     that must be sent in a step, on average: " << in_bytes(plan.bytes.total())
      << " by all ranks, " << in_bytes(plan.bytes.most()) << " by the busiest\n";
  Table table({"collective", "calls", "all ranks", "busiest rank"}, kIndent);
  for (const CollectiveBytes& collective : plan.bytes.collectives) {
    table.add({collective.name, whole(collective.calls), bytes_or_none(collective.total()),
               bytes_or_none(collective.most())});
  }
  table.print(out);
}

void print_time(std::ostream& out, const GridPlan& plan, const Rates& rates) {
  const StepSeconds& time = plan.time[plan.slowest_rank()];
  out << "step      " << in_time(time.total()) << " predicted for the slowest rank, "
      << plan.slowest_rank() << ": products " << in_time(time.products) << ", matrices "
      << in_time(time.matrices) << ", passes over rows " << in_time(time.passes) << ", network "
      << in_time(time.network) << "\n"
      << "          with " << rates.origin << "\n"
      << "          --neighbour_rate=" << fixed(rates.numbers.neighbour_bytes_per_second / 1e9, 2)
      << " --matrix_rate=" << fixed(rates.numbers.matrix_operations_per_second / 1e9, 1)
      << " --copy_rate=" << fixed(rates.numbers.copy_bytes_per_second / 1e9, 2)
      << " --bandwidth=" << fixed(rates.numbers.network_bytes_per_second / 1e9, 3)
      << " --latency=" << fixed(rates.numbers.message_seconds * 1e6, 1) << "\n";
}

ordered_json to_json(const Candidate& candidate) {
  const GridPlan& plan = candidate.plan;
  ordered_json json;
  json["partition"] = candidate.partition;
  json["grid"] = to_text(plan.grid);
  json["assignment_seconds"] = candidate.seconds;
  json["halo_rows"] = plan.needs.halo.total();
  json["bytes_a_step"] = plan.bytes.total();
  json["bytes_a_step_of_busiest_rank"] = plan.bytes.most();
  json["balance"] = {{"nonzeros", plan.balance.nonzeros},
                     {"rows", plan.balance.rows},
                     {"memory", plan.balance.memory}};
  json["memory_bytes_of_fullest_rank"] = plan.memory[plan.fullest_rank()].peak();
  json["step_seconds"] = plan.time[plan.slowest_rank()].total();
  return json;
}

ordered_json details_of(const Candidate& chosen) {
  const GridPlan& plan = chosen.plan;
  ordered_json json = to_json(chosen);
  const std::vector<double> sent = plan.bytes.bytes_of_ranks();
  for (int rank = 0; rank < plan.grid.ranks(); ++rank) {
    const int row = plan.grid.row_part(rank);
    const RankLoad& load = plan.loads[row];
    ordered_json memory;
    for (int kind = 0; kind < kMemoryKinds; ++kind) {
      memory[name_of(static_cast<MemoryKind>(kind))] = plan.memory[rank].bytes[kind];
    }
    const StepSeconds& time = plan.time[rank];
    json["ranks"].push_back({{"rank", rank},
                             {"users", load.users},
                             {"items", load.items},
                             {"nonzeros", load.nonzeros},
                             {"halo_rows", plan.needs.halo.received[row]},
                             {"bytes_a_step", sent.empty() ? 0 : sent[rank]},
                             {"memory_bytes", plan.memory[rank].peak()},
                             {"memory", memory},
                             {"seconds",
                              {{"products", time.products},
                               {"matrices", time.matrices},
                               {"passes", time.passes},
                               {"network", time.network}}}});
  }
  json["collectives"] = ordered_json::array();
  for (const CollectiveBytes& collective : plan.bytes.collectives) {
    json["collectives"].push_back({{"name", collective.name},
                                   {"calls", collective.calls},
                                   {"bytes", collective.total()},
                                   {"bytes_of_busiest_rank", collective.most()}});
  }
  return json;
}

void write_json(const std::string& path, const Candidate& chosen, const GridChoice& choice,
                const std::vector<const Candidate*>& candidates, const Rates& rates) {
  ordered_json json;
  json["plan"] = details_of(chosen);
  json["fits"] = choice.fits;
  json["reason"] = choice.reason;
  for (const GridCost& cost : choice.costs) {
    json["grids"].push_back({{"grid", to_text(cost.grid)},
                             {"step_seconds", cost.step_seconds},
                             {"bytes_a_step_of_busiest_rank", cost.most_bytes_a_step},
                             {"memory_bytes_of_fullest_rank", cost.most_memory_bytes}});
  }
  for (const Candidate* candidate : candidates) {
    json["partitioners"].push_back(to_json(*candidate));
  }
  json["rates"] = {{"neighbour_bytes_per_second", rates.numbers.neighbour_bytes_per_second},
                   {"matrix_operations_per_second", rates.numbers.matrix_operations_per_second},
                   {"copy_bytes_per_second", rates.numbers.copy_bytes_per_second},
                   {"network_bytes_per_second", rates.numbers.network_bytes_per_second},
                   {"message_seconds", rates.numbers.message_seconds}};
  write_whole_file(path, json.dump(2) + "\n");
}

/// What would fit instead, found by planning it; with the balanced partition, which any number of
/// parts can have.
std::string what_fits(Planner& planner, const PlanInputs& inputs, int ranks, double limit) {
  constexpr int kMostDoublings = 7;
  const int dim = static_cast<int>(inputs.shape.dim);
  for (int more = 1; more <= kMostDoublings; ++more) {
    const int tried = ranks << more;
    const GridChoice choice = planner.choose("balanced", possible_grids(tried, dim), limit);
    if (choice.fits) {
      return text("--ranks=", tried, " would fit as ", to_text(choice.grid),
                  ", or try a smaller --dim");
    }
  }
  return text("not even ", with_commas(std::int64_t{ranks} << kMostDoublings),
              " ranks would fit; try a smaller --dim, or give the ranks more memory");
}

std::string why_not(const GridPlan& plan, double limit) {
  const int rank = plan.fullest_rank();
  const RankMemory& memory = plan.memory[rank];
  int largest = 0;
  for (int kind = 1; kind < kMemoryKinds; ++kind) {
    if (memory.bytes[kind] > memory.bytes[largest]) largest = kind;
  }
  return text("will not fit because rank ", rank, " of ", plan.grid.ranks(), " (",
              to_text(plan.grid), ") needs ", in_bytes(memory.peak()), ", of it ",
              in_bytes(memory.bytes[largest]), " for ", name_of(static_cast<MemoryKind>(largest)),
              ", and --memory gives each ", in_bytes(limit));
}

/// The file of --partition=file:PATH; empty where it names none.
std::string partition_path() {
  constexpr std::string_view kFile = "file:";
  return FLAGS_partition.starts_with(kFile) ? FLAGS_partition.substr(kFile.size()) : "";
}

void check_outputs(const Arguments& arguments) {
  const std::vector<std::string> inputs = {FLAGS_dataset, partition_path()};
  check_output("--out", FLAGS_out, arguments, inputs);
  check_output("--write_partition", FLAGS_write_partition, arguments, inputs);
  if (FLAGS_out.empty() || FLAGS_write_partition.empty()) return;
  refuse_output_over_inputs("--out", FLAGS_out, {FLAGS_write_partition});
  namespace fs = std::filesystem;
  if (look_at(FLAGS_out) == PathKind::missing &&
      fs::weakly_canonical(FLAGS_out) == fs::weakly_canonical(FLAGS_write_partition)) {
    throw Error(Cause::usage, text("--out and --write_partition both name ", FLAGS_out,
                                   "; give each a file of its own"));
  }
}

int run_plan(const Arguments& arguments) {
  if (FLAGS_grid != "auto") parse_grid(FLAGS_grid, FLAGS_ranks, FLAGS_dim);
  check_outputs(arguments);
  const DatasetFile dataset = DatasetFile::open(FLAGS_dataset);
  const DatasetSummary summary = summarise(dataset);
  ModelConfig model = model_config_from_flags();
  model.modalities = resolve_modalities(model.modalities, dataset);
  model = resolve(model, summary.space.domains());
  const PlanInputs inputs =
      read_plan_inputs(dataset, summary, model, sampling_config_from_flags(0, FLAGS_threads),
                       SemanticDetail::found, chosen_threads());
  const Rates rates = rates_from_flags(model.dim);
  const double limit = FLAGS_memory * kGiB;

  Planner planner(dataset, summary, inputs, rates.numbers);
  const std::vector<ProcessGrid> grids =
      FLAGS_grid == "auto" ? grids_for(FLAGS_partition, FLAGS_ranks, model.dim)
                           : std::vector{parse_grid(FLAGS_grid, FLAGS_ranks, model.dim)};
  const GridChoice choice = planner.choose(FLAGS_partition, grids, limit);
  const Candidate chosen = planner.candidate(FLAGS_partition, choice.grid);

  std::vector<std::string> partitions = {"hash", "balanced"};
  if (FLAGS_compare) partitions.push_back("metis");
  if (std::ranges::find(partitions, FLAGS_partition) == partitions.end()) {
    partitions.push_back(FLAGS_partition);
  }
  std::vector<const Candidate*> candidates;
  if (choice.grid.rows > 1) {
    for (const std::string& partition : partitions) {
      candidates.push_back(&planner.candidate(partition, choice.grid));
    }
  }

  std::ostream& out = std::cout;
  print_dataset(out, dataset, model);
  print_grids(out, choice);
  print_ranks(out, chosen);
  if (!candidates.empty()) print_partitioners(out, candidates);
  print_memory(out, chosen.plan);
  print_bytes(out, chosen.plan);
  print_time(out, chosen.plan, rates);
  out << std::flush;
  if (!FLAGS_out.empty()) write_json(FLAGS_out, chosen, choice, candidates, rates);
  if (!FLAGS_write_partition.empty()) {
    write_partition_file(FLAGS_write_partition, dataset, summary.space, chosen.rows);
    std::cerr << FLAGS_write_partition << ": " << with_commas(summary.space.nodes())
              << " users and items in " << chosen.rows.ranks
              << (chosen.rows.ranks == 1 ? " part\n" : " parts\n");
  }
  if (!choice.fits) {
    throw Error(Cause::usage, text(why_not(chosen.plan, limit), "; ",
                                   what_fits(planner, inputs, FLAGS_ranks, limit)));
  }
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
                   {"grid", "Distribution", "", written_as("auto or RxC", nullptr)},
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
