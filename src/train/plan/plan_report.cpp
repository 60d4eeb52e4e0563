#include "train/plan/plan_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/description.h"
#include "base/parallel.h"
#include "base/table.h"
#include "base/text.h"
#include "graph/approximate_neighbours.h"

namespace micrec {
namespace {

using nlohmann::ordered_json;

constexpr int kIndent = 10;
constexpr int kMostRanksListed = 16;

void print_domains(std::ostream& out, const DatasetFile& dataset, bool with_modalities) {
  out << "dataset   " << dataset.path() << "  (" << dataset.fingerprint() << ")\n";
  for (const DomainInfo& domain : dataset.domains()) {
    out << "          " << domain.name << ": " << with_commas(domain.users) << " users, "
        << with_commas(domain.items) << " items, "
        << with_commas(domain.interactions[static_cast<int>(Split::train)])
        << " training interactions";
    for (const ModalityInfo& modality : domain.modalities) {
      if (with_modalities) {
        out << ", " << modality.name << " of " << with_commas(modality.present) << " items";
      }
    }
    out << "\n";
  }
}

std::string whole(double number) { return with_commas(std::llround(number)); }

std::string bytes_or_none(double bytes) { return bytes > 0 ? in_bytes(bytes) : "0"; }

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
  if (candidates.empty()) return;
  out << "shares    by partitioner; balance is the heaviest rank over the mean\n";
  Table table({"partition", "halo rows", "sent a step, all ranks", "busiest rank", "nonzeros",
               "rows", "memory", "made in"},
              kIndent);
  for (const Candidate* candidate : candidates) {
    const GridPlan& plan = candidate->plan;
    table.add({candidate->partition, with_commas(plan.needs.halo.total()),
               bytes_or_none(plan.bytes.total()), bytes_or_none(plan.bytes.most()),
               decimal("%.3f", plan.balance.nonzeros), decimal("%.3f", plan.balance.rows),
               decimal("%.3f", plan.balance.memory), in_time(candidate->seconds)});
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

void print_collectives(std::ostream& out, const BytePlan& bytes) {
  Table table({"collective", "calls", "all ranks", "busiest rank"}, kIndent);
  for (const CollectiveBytes& collective : bytes.collectives) {
    table.add({collective.name, whole(collective.calls), bytes_or_none(collective.total()),
               bytes_or_none(collective.most())});
  }
  table.print(out);
}

void print_bytes(std::ostream& out, const GridPlan& plan) {
  if (plan.bytes.collectives.empty()) {
    out << "bytes     one rank sends nothing\n";
    return;
  }
  out << "bytes     that must be sent in a step, on average: " << in_bytes(plan.bytes.total())
      << " by all ranks, " << in_bytes(plan.bytes.most()) << " by the busiest\n";
  print_collectives(out, plan.bytes);
}

void print_fit(std::ostream& out, const FitPlan& fit) {
  const StepSeconds& time = fit.time[fit.slowest_rank()];
  out << "fit       of item regression, settings chosen: " << in_time(time.total())
      << " predicted for the slowest rank, " << fit.slowest_rank() << ": neighbours "
      << in_time(time.products) << ", solving " << in_time(time.matrices) << ", passes "
      << in_time(time.passes) << ", network " << in_time(time.network) << "\n";
  if (fit.bytes.collectives.empty()) return;
  out << "          it sends at most " << in_bytes(fit.bytes.total()) << " by all ranks, "
      << in_bytes(fit.bytes.most()) << " by the busiest\n";
  print_collectives(out, fit.bytes);
}

void print_time(std::ostream& out, const GridPlan& plan, const Rates& rates) {
  const StepSeconds& time = plan.time[plan.slowest_rank()];
  out << "step      " << in_time(time.total()) << " predicted for the slowest rank, "
      << plan.slowest_rank() << ": products " << in_time(time.products) << ", matrices "
      << in_time(time.matrices) << ", passes over rows " << in_time(time.passes) << ", network "
      << in_time(time.network) << "\n"
      << "          with " << rates.origin << "\n"
      << "          --neighbour_rate="
      << decimal("%.2f", rates.numbers.neighbour_bytes_per_second / 1e9)
      << " --matrix_rate=" << decimal("%.1f", rates.numbers.matrix_operations_per_second / 1e9)
      << " --copy_rate=" << decimal("%.2f", rates.numbers.copy_bytes_per_second / 1e9)
      << " --bandwidth=" << decimal("%.3f", rates.numbers.network_bytes_per_second / 1e9)
      << " --latency=" << decimal("%.1f", rates.numbers.message_seconds * 1e6) << "\n";
}

ordered_json summary_of(const Candidate& candidate) {
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

ordered_json in_json(const BytePlan& bytes) {
  ordered_json json = ordered_json::array();
  for (const CollectiveBytes& collective : bytes.collectives) {
    json.push_back({{"name", collective.name},
                    {"calls", collective.calls},
                    {"bytes", collective.total()},
                    {"bytes_of_busiest_rank", collective.most()}});
  }
  return json;
}

ordered_json in_json(const StepSeconds& time) {
  return {{"products", time.products},
          {"matrices", time.matrices},
          {"passes", time.passes},
          {"network", time.network}};
}

ordered_json details_of(const Candidate& chosen) {
  const GridPlan& plan = chosen.plan;
  ordered_json json = summary_of(chosen);
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
                             {"seconds", in_json(time)}});
  }
  json["collectives"] = in_json(plan.bytes);
  return json;
}

ordered_json in_json(const FitPlan& fit) {
  ordered_json json;
  json["bytes"] = fit.bytes.total();
  json["bytes_of_busiest_rank"] = fit.bytes.most();
  json["seconds"] = in_json(fit.time[fit.slowest_rank()]);
  json["collectives"] = in_json(fit.bytes);
  return json;
}

}  // namespace

void PlanReport::print(std::ostream& out) const {
  print_grids(out, choice);
  print_ranks(out, chosen);
  print_partitioners(out, alternatives);
  print_memory(out, chosen.plan);
  print_bytes(out, chosen.plan);
  print_time(out, chosen.plan, rates);
  if (fit) print_fit(out, *fit);
  out << std::flush;
}

ordered_json PlanReport::to_json() const {
  ordered_json json;
  json["plan"] = details_of(chosen);
  if (fit) json["plan"]["fit"] = in_json(*fit);
  json["fits"] = choice.fits;
  json["reason"] = choice.reason;
  for (const GridCost& cost : choice.costs) {
    json["grids"].push_back({{"grid", to_text(cost.grid)},
                             {"step_seconds", cost.step_seconds},
                             {"bytes_a_step_of_busiest_rank", cost.most_bytes_a_step},
                             {"memory_bytes_of_fullest_rank", cost.most_memory_bytes}});
  }
  for (const Candidate* candidate : alternatives) {
    json["partitioners"].push_back(summary_of(*candidate));
  }
  json["rates"] = {{"neighbour_bytes_per_second", rates.numbers.neighbour_bytes_per_second},
                   {"matrix_operations_per_second", rates.numbers.matrix_operations_per_second},
                   {"copy_bytes_per_second", rates.numbers.copy_bytes_per_second},
                   {"network_bytes_per_second", rates.numbers.network_bytes_per_second},
                   {"message_seconds", rates.numbers.message_seconds}};
  return json;
}

void print_task(std::ostream& out, const TrainingTask& task) {
  const ModelConfig& model = task.model;
  print_domains(out, task.dataset, /*with_modalities=*/false);
  out << "model     " << name_of(model.kind) << ", " << model.dim << " columns, " << model.layers
      << " layers, "
      << (model.is_solved() ? std::string("an epoch a step")
                            : "batch " + with_commas(task.sampling.batch_size))
      << (model.modalities.empty() ? "" : ", modalities " + join(model.modalities, ", ")) << "\n";
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

void print_run(std::ostream& out, const TrainingTask& task, const std::string& partition,
               const Layout& layout) {
  const ModelConfig& model = task.model;
  print_domains(out, task.dataset, /*with_modalities=*/true);
  const bool has_embeddings = !model.is_solved() || model.kind == ModelKind::ials;
  out << "model     " << name_of(model.kind)
      << (has_embeddings ? text(", ", model.dim, " columns") : ", without embeddings")
      << (model.layers > 0 ? text(", ", model.layers, " layers") : "")
      << (model.modalities.empty() ? "" : ", modalities " + join(model.modalities, ", "))
      << (model.contrastive_weight > 0 ? text(", contrastive ", model.contrastive_weight) : "")
      << "\n";
  const ProcessGrid& grid = layout.grid;
  out << "ranks     " << grid.ranks() << " with " << compute_threads()
      << (compute_threads() == 1 ? " thread each, " : " threads each, ") << "grid " << to_text(grid)
      << ", " << partition << " partition" << (layout.reproducible ? ", reproducible" : "") << "\n";
  const std::vector<RankLoad> loads =
      loads_of(task.summary.space, layout.rows, task.summary.training_degree);
  for (int part = 0; part < grid.rows; ++part) {
    const int first = grid.rank_of(part, 0);
    out << "          "
        << (grid.columns == 1 ? text("rank ", first)
                              : text("ranks ", first, " to ", first + grid.columns - 1))
        << ": " << with_commas(loads[part].users) << " users, " << with_commas(loads[part].items)
        << " items, " << with_commas(loads[part].nonzeros) << " nonzeros";
    if (grid.columns > 1) out << ", " << model.dim / grid.columns << " columns each";
    out << "\n";
  }
  out << std::flush;
}

void print_searches(std::ostream& out, const Model& model) {
  for (const auto& [what, search] : model.neighbour_searches()) {
    if (search.tried_graphs) out << "          " << what << " " << in_words(search) << "\n";
  }
}

void print_halo(std::ostream& out, const Shard& shard) {
  const std::vector<std::int64_t> halo =
      gather_counts(*shard.communicator, "plan.halo_rows", shard.graph->halo_plan().halo_rows());
  if (shard.grid.rows == 1) return;
  std::int64_t rows = 0;
  for (const std::int64_t count : halo) rows += count;
  out << "          " << with_commas(rows) << " halo rows over all row parts in each exchange\n"
      << std::flush;
}

}  // namespace micrec
