#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/communicator.h"
#include "partition/ownership.h"
#include "partition/planning/grid_choice.h"
#include "partition/planning/run_plan.h"
#include "partition/process_grid.h"
#include "train/training_task.h"

namespace micrec {

/// The path of a partition that is written file:PATH; empty for any other.
std::string file_of_partition(const std::string& partition);

/// The grids among which --grid=auto chooses. Those of a file have as many row parts as the file
/// has parts; those of a kind that is_solved() cut no columns. Errors: Error(Cause::usage) where no
/// such grid has `ranks` ranks; those of count_parts().
std::vector<ProcessGrid> grids_for(const std::string& partition, int ranks,
                                   const ModelConfig& model);

/// One assignment on one grid, planned.
struct Candidate {
  std::string partition;
  double seconds = 0;  ///< to make the assignment
  Ownership rows;
  GridPlan plan;
};

/// What item regression sends and takes to be fitted, with the choice of its settings, as
/// costs_of_item_regression() says.
using FitPlan = RankCosts;

/// The fit of item regression on the training graph `graph`, where the ranks have the whole rows of
/// `whole`. Ranks: local. Errors: those of modality_width().
FitPlan plan_fit(const TrainingTask& task, const Adjacency& graph, const Ownership& whole,
                 const MachineRates& rates = {});

/// Plans runs on a data set: who would own what on which grid, and what that costs. The one planner
/// of `micrec plan` and of `train --grid=auto`; it reads the training graph once, when it is first
/// asked for something that takes it.
///
/// `partition`: balanced, hash, metis, or file:PATH.
///
/// Ranks    local; the whole graph is in memory, 8 bytes an interaction.
/// Errors   those of assign_by_metis(), read_partition_file() and modality_width().
class RunPlanner {
 public:
  /// The task outlives it.
  explicit RunPlanner(const TrainingTask& task, const MachineRates& rates = {})
      : task_(task), rates_(rates) {}

  Ownership assignment(const std::string& partition, int parts);

  /// Valid until a candidate of the same partition and columns is asked for on more or fewer rows,
  /// or after find_neighbours().
  const Candidate& candidate(const std::string& partition, ProcessGrid grid);

  /// The grid of choose_grid(), with the costs of all. Asked before find_neighbours().
  GridChoice choose(const std::string& partition, const std::vector<ProcessGrid>& grids,
                    double memory_limit_bytes = 0);

  /// From here on candidates are planned with the semantic neighbours that items have, searched for
  /// where that takes seconds, no longer estimated.
  void find_neighbours();

  /// What would fit in the memory instead of so many ranks, in words; found by planning it, with
  /// the balanced partition, which any number of parts can have.
  std::string what_fits(int ranks, double memory_limit_bytes);

  /// The partitioner beside hash, balanced and, if wanted, METIS, on the same grid; none where that
  /// shares out no rows.
  std::vector<const Candidate*> alternatives(const std::string& partition, ProcessGrid grid,
                                             bool with_metis);

  /// The fit that goes before the steps; nothing where the model has none.
  std::optional<FitPlan> fit(const Candidate& candidate);

  const StepShape& shape() { return inputs().shape; }
  /// The training graph; nothing more is planned.
  Adjacency take_graph() { return std::move(inputs_->graph); }

 private:
  struct Known {
    Candidate candidate;
    bool has_neighbours = false;  // planned with those that items have
  };

  const PlanInputs& inputs();

  const TrainingTask& task_;
  MachineRates rates_;
  std::unique_ptr<PlanInputs> inputs_;  // once they are asked for
  bool has_neighbours_ = false;
  std::map<std::pair<std::string, int>, Known> candidates_;  // by partition and columns
};

/// The grid RxC that a flag gives to a model. Errors: those of parse_grid(); Error(Cause::usage)
/// where the grid cuts columns and the kind solves for whole rows.
ProcessGrid parse_grid_for(const ModelConfig& model, const std::string& grid, int ranks);

/// How a run is to be shared out, as its flags say.
struct GridWish {
  std::string partition = "balanced";
  std::string grid = "auto";  ///< auto or RxC
  bool reproducible = false;
};

/// What a training step computes, and what of it each row part needs of others.
struct PlannedStep {
  StepShape shape;
  StepNeeds needs;
};

/// How a run is shared out.
struct RunPlan {
  Layout layout;
  /// Of a run that may be held to what it must send: on rank 0 of several, and not in a
  /// reproducible run, which sends more on purpose.
  std::optional<PlannedStep> step;
  /// Beside it, where there is item regression: the training graph, for the plan of its fit.
  std::optional<Adjacency> graph;
};

/// Plans a run on the ranks of a communicator, with the default rates of a machine, so that the
/// grid is the same on every start. What takes the whole graph, and files, which need not be read
/// by every rank at once, are left to rank 0, which tells the others. A reproducible run assigns
/// the nodes to 16 summands, whatever the grid, and row parts have these whole.
///
/// Ranks    collective.
/// Errors   those of parse_grid(), grids_for() and RunPlanner; Error(Cause::usage) where a
///          reproducible run has more row parts than summands.
RunPlan plan_run(const GridWish& wish, const TrainingTask& task, Communicator& communicator);

/// Of all ranks, by name of the collective.
std::map<std::string, double> bytes_by_name(const BytePlan& plan);

}  // namespace micrec
