#include "train/plan/run_planner.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "data/partition_file.h"
#include "kernels/upload.h"
#include "model/modality.h"
#include "partition/metis_partition.h"
#include "train/plan/plan_inputs.h"

namespace micrec {
namespace {

constexpr std::string_view kFilePrefix = "file:";

/// The grid that the wish means, planned where it is "auto". Ranks: collective.
ProcessGrid grid_of(const GridWish& wish, RunPlanner& planner, const ModelConfig& model,
                    Communicator& communicator) {
  const int ranks = communicator.size();
  if (wish.grid != "auto") return parse_grid_for(model, wish.grid, ranks);
  if (wish.reproducible) return {ranks, 1};
  const std::vector<ProcessGrid> grids = grids_for(wish.partition, ranks, model);
  if (grids.size() == 1) return grids.front();
  at::Tensor rows = at::zeros({1}, at::kInt);
  if (communicator.rank() == 0) rows.fill_(planner.choose(wish.partition, grids).grid.rows);
  communicator.broadcast("partition.grid", rows, 0);
  const std::int32_t row_parts = *rows.const_data_ptr<std::int32_t>();
  return {row_parts, ranks / row_parts};
}

/// The same assignment on every rank. Ranks: collective.
Ownership assign(const std::string& partition, int parts, RunPlanner& planner, std::int64_t nodes,
                 Communicator& communicator) {
  const bool by_one = !file_of_partition(partition).empty() || (partition == "metis" && parts > 1);
  if (!by_one || communicator.size() == 1) return planner.assignment(partition, parts);
  Ownership ownership{parts, {}};
  at::Tensor owner = at::empty({nodes}, at::kInt);
  if (communicator.rank() == 0) {
    ownership = planner.assignment(partition, parts);
    std::ranges::copy(ownership.owner, owner.mutable_data_ptr<std::int32_t>());
  }
  communicator.broadcast("partition.owners", owner, 0);
  ownership.owner = download<std::int32_t>(owner);
  return ownership;
}

/// Of all domains, 1 where an item has one of the modalities.
std::vector<std::uint8_t> items_with_any(const TrainingTask& task) {
  std::vector<std::uint8_t> has_any(task.summary.space.items(), 0);
  for (const std::string& modality : task.modalities) {
    std::ranges::transform(has_any, items_with(task.dataset, modality), has_any.begin(),
                           std::bit_or<std::uint8_t>());
  }
  return has_any;
}

}  // namespace

std::string file_of_partition(const std::string& partition) {
  return partition.starts_with(kFilePrefix) ? partition.substr(kFilePrefix.size()) : "";
}

ProcessGrid parse_grid_for(const ModelConfig& model, const std::string& grid, int ranks) {
  const std::optional<ProcessGrid> wish = read_grid(grid);
  if (model.is_solved() && wish && wish->columns > 1) {
    throw Error(Cause::usage, "--grid=", grid, " cuts the columns in ", wish->columns,
                ", but --model=", name_of(model.kind), " computes whole rows; give --grid=", ranks,
                "x1 or auto");
  }
  return parse_grid(grid, ranks, model.dim);
}

std::vector<ProcessGrid> grids_for(const std::string& partition, int ranks,
                                   const ModelConfig& model) {
  std::vector<ProcessGrid> grids = possible_grids(ranks, model.dim);
  if (model.is_solved()) {
    std::erase_if(grids, [](ProcessGrid grid) { return grid.columns > 1; });
  }
  const std::string path = file_of_partition(partition);
  if (path.empty()) return grids;
  const int parts = count_parts(path);
  std::erase_if(grids, [&](ProcessGrid grid) { return grid.rows != parts; });
  if (grids.empty()) {
    throw Error(Cause::usage, path, " has ", parts, parts == 1 ? " part" : " parts", ", and ",
                ranks, ranks == 1 ? " rank makes" : " ranks make",
                " no grid with as many row parts and --dim=", model.dim, "; start ", parts,
                " ranks, make an assignment to ", ranks, " parts, or give --partition=balanced");
  }
  return grids;
}

const PlanInputs& RunPlanner::inputs() {
  if (!inputs_) {
    inputs_ = std::make_unique<PlanInputs>(read_plan_inputs(task_, SemanticDetail::estimated));
  }
  return *inputs_;
}

void RunPlanner::find_neighbours() {
  inputs();
  has_neighbours_ = true;
  if (!task_.model.has_semantic()) return;
  inputs_->semantic = semantic_graphs(task_, SemanticDetail::found);
}

Ownership RunPlanner::assignment(const std::string& partition, int parts) {
  for (const auto& [key, known] : candidates_) {
    const Ownership& rows = known.candidate.rows;
    if (key.first == partition && rows.ranks == parts) return rows;
  }
  const NodeSpace& space = task_.summary.space;
  const People& people = task_.summary.people;
  const std::string path = file_of_partition(partition);
  if (!path.empty()) return read_partition_file(path, task_.dataset, space, people, parts);
  if (partition == "hash") return assign_by_hash(space, people, parts);
  if (partition == "metis") return assign_by_metis(space, people, inputs().graph, parts);
  return assign_balanced(space, people, task_.summary.training_degree, parts);
}

const Candidate& RunPlanner::candidate(const std::string& partition, ProcessGrid grid) {
  const std::pair<std::string, int> key(partition, grid.columns);
  const auto known = candidates_.find(key);
  if (known != candidates_.end() && known->second.candidate.plan.grid.rows == grid.rows &&
      known->second.has_neighbours == has_neighbours_) {
    return known->second.candidate;
  }
  const PlanInputs& all = inputs();
  const Timer timer;
  Candidate made{partition, 0, assignment(partition, grid.rows), {}};
  made.seconds = timer.seconds();
  if (known != candidates_.end() && known->second.candidate.rows.ranks == grid.rows) {
    made.seconds = known->second.candidate.seconds;  // the assignment was there
  }
  made.plan = plan_grid(all, made.rows, grid, rates_);
  return candidates_.insert_or_assign(key, Known{std::move(made), has_neighbours_})
      .first->second.candidate;
}

GridChoice RunPlanner::choose(const std::string& partition, const std::vector<ProcessGrid>& grids,
                              double memory_limit_bytes) {
  return choose_grid(grids, memory_limit_bytes,
                     [&](ProcessGrid grid) { return candidate(partition, grid).plan.cost(); });
}

std::string RunPlanner::what_fits(int ranks, double memory_limit_bytes) {
  constexpr int kMostDoublings = 7;
  for (int more = 1; more <= kMostDoublings; ++more) {
    const int tried = ranks << more;
    const GridChoice choice =
        choose("balanced", grids_for("balanced", tried, task_.model), memory_limit_bytes);
    if (choice.fits) {
      return text("--ranks=", tried, " would fit as ", to_text(choice.grid),
                  ", or try a smaller --dim");
    }
  }
  return text("not even ", with_commas(std::int64_t{ranks} << kMostDoublings),
              " ranks would fit; try a smaller --dim, or give the ranks more memory");
}

std::vector<const Candidate*> RunPlanner::alternatives(const std::string& partition,
                                                       ProcessGrid grid, bool with_metis) {
  if (grid.rows == 1) return {};
  std::vector<std::string> partitions = {"hash", "balanced"};
  if (with_metis) partitions.push_back("metis");
  if (std::ranges::find(partitions, partition) == partitions.end()) {
    partitions.push_back(partition);
  }
  std::vector<const Candidate*> candidates;
  for (const std::string& one : partitions) candidates.push_back(&candidate(one, grid));
  return candidates;
}

FitPlan plan_fit(const TrainingTask& task, const Adjacency& graph, const Ownership& whole,
                 const MachineRates& rates) {
  const NodeSpace& space = task.summary.space;
  const ItemRegressionShape shape{
      .space = space,
      .people = task.summary.people,
      .graph = graph,
      .whole = whole,
      .feature_width = widths_of(task),
      .has_features = items_with_any(task),
      .search = task.model.neighbor_search,
      .solves = solves_of_fit(task.item_regression, space.domains(),
                              static_cast<int>(task.modalities.size()), task.has_validation()),
      .seed = task.seed,
      .hubs = {}};
  const std::vector<StepCosts> costs = costs_of_item_regression(shape);
  return {plan_bytes(costs), plan_time(costs, rates)};
}

std::optional<FitPlan> RunPlanner::fit(const Candidate& candidate) {
  if (task_.model.item_regression == ItemRegressionUse::off) return std::nullopt;
  const Layout layout =
      make_layout(task_.summary.space, task_.summary.people, candidate.rows, candidate.plan.grid);
  return plan_fit(task_, inputs().graph, layout.whole, rates_);
}

RunPlan plan_run(const GridWish& wish, const TrainingTask& task, Communicator& communicator) {
  constexpr int kSummands = 16;
  const DatasetSummary& summary = task.summary;
  RunPlanner planner(task);
  const ProcessGrid grid = grid_of(wish, planner, task.model, communicator);
  if (wish.reproducible && grid.rows > kSummands) {
    throw Error(Cause::usage, "--reproducible sums over ", kSummands, " parts, but the grid ",
                to_text(grid), " has ", grid.rows, " row parts; give --grid with at most ",
                kSummands, " row parts and more column parts, or leave --reproducible out");
  }
  RunPlan plan;
  plan.layout = make_layout(summary.space, summary.people,
                            assign(wish.partition, wish.reproducible ? kSummands : grid.rows,
                                   planner, summary.space.nodes(), communicator),
                            grid, wish.reproducible);
  if (communicator.rank() == 0 && communicator.size() > 1 && !wish.reproducible) {
    const Candidate& candidate = planner.candidate(wish.partition, grid);
    plan.step = PlannedStep{planner.shape(), candidate.plan.needs};
    if (task.model.item_regression != ItemRegressionUse::off) plan.graph = planner.take_graph();
  }
  return plan;
}

std::map<std::string, double> bytes_by_name(const BytePlan& plan) {
  std::map<std::string, double> bytes;
  for (const CollectiveBytes& collective : plan.collectives) {
    bytes[collective.name] = collective.total();
  }
  return bytes;
}

}  // namespace micrec
