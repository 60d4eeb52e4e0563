#include "launcher/assignment.h"

#include <ATen/Functions.h>
#include <gflags/gflags.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/partition_file.h"
#include "data/training_graph.h"
#include "launcher/plan_inputs.h"
#include "partition/metis_partition.h"
#include "partition/planning/grid_choice.h"
#include "partition/planning/run_plan.h"

DEFINE_string(
    partition, "balanced",
    "how users and items are shared out over the row parts: balanced (even work), metis "
    "(few rows to exchange, nearly even work; takes seconds a million interactions), hash, "
    "or file:PATH (made elsewhere, see micrec plan --write_partition)");

namespace micrec {
namespace {

constexpr char kFilePrefix[] = "file:";

bool is_file(const std::string& partition) { return partition.starts_with(kFilePrefix); }

std::string file_of(const std::string& partition) {
  return partition.substr(sizeof kFilePrefix - 1);
}

std::string check_partition(const std::string& value) {
  if (value == "balanced" || value == "hash" || value == "metis") return "";
  if (is_file(value) && value.size() > sizeof kFilePrefix - 1) return "";
  return "balanced, metis, hash or file:PATH";
}

}  // namespace

FlagSpec partition_flag() {
  return {"partition", "Distribution", "",
          written_as("balanced, metis, hash or file:PATH", check_partition)};
}

std::vector<ProcessGrid> grids_for(const std::string& partition, int ranks, int dim) {
  std::vector<ProcessGrid> grids = possible_grids(ranks, dim);
  if (!is_file(partition)) return grids;
  const std::string path = file_of(partition);
  const int parts = count_parts(path);
  std::erase_if(grids, [&](ProcessGrid grid) { return grid.rows != parts; });
  if (grids.empty()) {
    throw Error(Cause::usage, text(path, " has ", parts, parts == 1 ? " part" : " parts", ", and ",
                                   ranks, ranks == 1 ? " rank makes" : " ranks make",
                                   " no grid with as many row parts and --dim=", dim, "; start ",
                                   parts, " ranks, or make an assignment to ", ranks, " parts"));
  }
  return grids;
}

Ownership make_assignment(const std::string& partition, const DatasetFile& dataset,
                          const DatasetSummary& summary, int parts, const Adjacency* graph) {
  if (is_file(partition)) {
    return read_partition_file(file_of(partition), dataset, summary.space, summary.people, parts);
  }
  if (partition == "hash") return assign_by_hash(summary.space, summary.people, parts);
  if (partition == "metis") {
    if (graph != nullptr) {
      return assign_by_metis(summary.space, summary.people, *graph, parts);
    }
    return assign_by_metis(summary.space, summary.people,
                           read_training_graph(dataset, summary.space), parts);
  }
  return assign_balanced(summary.space, summary.people, summary.training_degree, parts);
}

Ownership assign(const std::string& partition, const DatasetFile& dataset,
                 const DatasetSummary& summary, int parts, Communicator& communicator) {
  const bool by_one = is_file(partition) || (partition == "metis" && parts > 1);
  if (!by_one || communicator.size() == 1) {
    return make_assignment(partition, dataset, summary, parts, nullptr);
  }
  Ownership ownership{parts, {}};
  at::Tensor owner = at::empty({summary.space.nodes()}, at::kInt);
  if (communicator.rank() == 0) {
    ownership = make_assignment(partition, dataset, summary, parts, nullptr);
    std::ranges::copy(ownership.owner, owner.mutable_data_ptr<std::int32_t>());
  }
  communicator.broadcast("partition.owners", owner, 0);
  const std::int32_t* const owners = owner.const_data_ptr<std::int32_t>();
  ownership.owner.assign(owners, owners + owner.numel());
  return ownership;
}

ProcessGrid grid_of_flags(const std::string& grid, const std::string& partition, bool reproducible,
                          int ranks, int dim) {
  if (grid != "auto") return parse_grid(grid, ranks, dim);
  if (reproducible) return {ranks, 1};
  return grids_for(partition, ranks, dim).front();
}

ProcessGrid planned_grid(const std::string& partition, const DatasetFile& dataset,
                         const DatasetSummary& summary, const ModelConfig& model,
                         const SamplingConfig& sampling, Communicator& communicator) {
  const std::vector<ProcessGrid> grids = grids_for(partition, communicator.size(), model.dim);
  if (grids.size() == 1) return grids.front();
  at::Tensor rows = at::zeros({1}, at::kInt);
  if (communicator.rank() == 0) {
    const PlanInputs inputs = read_plan_inputs(dataset, summary, model, sampling,
                                               SemanticDetail::estimated, /*threads=*/1);
    const GridChoice choice = choose_grid(grids, /*memory_limit_bytes=*/0, [&](ProcessGrid grid) {
      const Ownership owners =
          make_assignment(partition, dataset, summary, grid.rows, &inputs.graph);
      return plan_grid(inputs, owners, grid, {}).cost();
    });
    rows.fill_(choice.grid.rows);
  }
  communicator.broadcast("partition.grid", rows, 0);
  const std::int32_t row_parts = *rows.const_data_ptr<std::int32_t>();
  return {row_parts, communicator.size() / row_parts};
}

Layout layout_of_flags(const std::string& partition, bool reproducible, const DatasetFile& dataset,
                       const DatasetSummary& summary, const ProcessGrid& grid,
                       Communicator& communicator) {
  constexpr int kSummands = 16;
  if (reproducible && grid.rows > kSummands) {
    throw Error(Cause::usage,
                text("--reproducible sums over ", kSummands, " parts, but the grid ", to_text(grid),
                     " has ", grid.rows, " row parts; give --grid with at most ", kSummands,
                     " row parts and more column parts, or leave --reproducible out"));
  }
  Ownership summands =
      assign(partition, dataset, summary, reproducible ? kSummands : grid.rows, communicator);
  return make_layout(summary.space, summary.people, std::move(summands), grid, reproducible);
}

PlannedStep plan_step(const Ownership& rows, const DatasetFile& dataset,
                      const DatasetSummary& summary, const ModelConfig& model,
                      const SamplingConfig& sampling) {
  const PlanInputs inputs =
      read_plan_inputs(dataset, summary, model, sampling, SemanticDetail::estimated, /*threads=*/1);
  return {inputs.shape, expected_needs(inputs.space, inputs.people, inputs.graph, inputs.eligible,
                                       rows, inputs.shape.batch)};
}

std::map<std::string, double> bound_of_bytes(const PlannedStep& step, ProcessGrid grid,
                                             const std::vector<SemanticHalo>& semantic) {
  std::map<std::string, double> bound;
  const BytePlan plan = plan_bytes(step.shape, grid, step.needs, semantic);
  for (const CollectiveBytes& collective : plan.collectives) {
    bound[collective.name] = collective.total();
  }
  return bound;
}

}  // namespace micrec
