#include "train/plan/run_planner.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <functional>
#include <numeric>
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

std::vector<std::int64_t> widths_of(const DatasetFile& dataset,
                                    const std::vector<std::string>& modalities) {
  std::vector<std::int64_t> widths;
  for (const std::string& modality : modalities) {
    widths.push_back(modality_width(dataset, modality));
  }
  return widths;
}

/// Of all domains, 1 where an item has one of the modalities.
std::vector<std::uint8_t> items_with_any(const DatasetFile& dataset, const NodeSpace& space,
                                         const std::vector<std::string>& modalities) {
  std::vector<std::uint8_t> has_any(space.items(), 0);
  for (const std::string& modality : modalities) {
    std::ranges::transform(has_any, items_with(dataset, modality), has_any.begin(),
                           std::bit_or<std::uint8_t>());
  }
  return has_any;
}

}  // namespace

std::string file_of_partition(const std::string& partition) {
  return partition.starts_with(kFilePrefix) ? partition.substr(kFilePrefix.size()) : "";
}

SamplingConfig sampling_of(const ModelConfig& model, const DatasetSummary& summary,
                           SamplingConfig sampling) {
  const std::vector<std::int64_t>& counts = summary.training_interactions;
  const std::int64_t all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (model.is_solved()) {
    sampling.batch_size = std::max<std::int64_t>(1, all);
  } else if (sampling.batch_size == 0) {
    sampling.batch_size = std::max(kLeastBatch, (all + kStepsOfEpoch - 1) / kStepsOfEpoch);
  }
  return sampling;
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
                " ranks, or make an assignment to ", ranks, " parts");
  }
  return grids;
}

RunPlanner::RunPlanner(const DatasetFile& dataset, const DatasetSummary& summary,
                       const ModelConfig& model, const std::vector<std::string>& modalities,
                       const SamplingConfig& sampling, const MachineRates& rates)
    : dataset_(dataset),
      summary_(summary),
      model_(model),
      modalities_(modalities),
      sampling_(sampling),
      rates_(rates) {}

const PlanInputs& RunPlanner::inputs() {
  if (!inputs_) {
    inputs_ = std::make_unique<PlanInputs>(
        read_plan_inputs(dataset_, summary_, model_, sampling_, SemanticDetail::estimated));
    inputs_->dataset.feature_width = widths_of(dataset_, modalities_);
  }
  return *inputs_;
}

void RunPlanner::find_neighbours() {
  inputs();
  has_neighbours_ = true;
  if (!model_.has_semantic()) return;
  inputs_->semantic = semantic_graphs(dataset_, summary_, model_, SemanticDetail::found);
}

Ownership RunPlanner::assignment(const std::string& partition, int parts) {
  for (const auto& [key, known] : candidates_) {
    const Ownership& rows = known.candidate.rows;
    if (key.first == partition && rows.ranks == parts) return rows;
  }
  const NodeSpace& space = summary_.space;
  const std::string path = file_of_partition(partition);
  if (!path.empty()) return read_partition_file(path, dataset_, space, summary_.people, parts);
  if (partition == "hash") return assign_by_hash(space, summary_.people, parts);
  if (partition == "metis") return assign_by_metis(space, summary_.people, inputs().graph, parts);
  return assign_balanced(space, summary_.people, summary_.training_degree, parts);
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
        choose("balanced", grids_for("balanced", tried, model_), memory_limit_bytes);
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

FitPlan plan_fit(const DatasetFile& dataset, const DatasetSummary& summary, const Adjacency& graph,
                 const Ownership& whole, const FitInputs& with, const MachineRates& rates) {
  const ItemRegressionShape shape{
      .space = summary.space,
      .people = summary.people,
      .graph = graph,
      .whole = whole,
      .feature_width = widths_of(dataset, with.modalities),
      .has_features = items_with_any(dataset, summary.space, with.modalities),
      .search = with.search,
      .solves = with.solves,
      .seed = with.seed,
      .hubs = {}};
  const std::vector<StepCosts> costs = costs_of_item_regression(shape);
  return {plan_bytes(costs), plan_time(costs, rates)};
}

std::optional<FitPlan> RunPlanner::fit(const Candidate& candidate, const FitInputs& with) {
  if (model_.item_regression == ItemRegressionUse::off) return std::nullopt;
  const Layout layout =
      make_layout(summary_.space, summary_.people, candidate.rows, candidate.plan.grid);
  return plan_fit(dataset_, summary_, inputs().graph, layout.whole, with, rates_);
}

RunPlan plan_run(const GridWish& wish, const DatasetFile& dataset, const DatasetSummary& summary,
                 const ModelConfig& model, const std::vector<std::string>& modalities,
                 const SamplingConfig& sampling, Communicator& communicator) {
  constexpr int kSummands = 16;
  RunPlanner planner(dataset, summary, model, modalities, sampling);
  const ProcessGrid grid = grid_of(wish, planner, model, communicator);
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
    if (model.item_regression != ItemRegressionUse::off) plan.graph = planner.take_graph();
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

std::map<std::string, double> bound_of_bytes(const PlannedStep& step, ProcessGrid grid,
                                             const std::vector<SemanticHalo>& semantic) {
  return bytes_by_name(plan_bytes(step.shape, grid, step.needs, semantic));
}

}  // namespace micrec
