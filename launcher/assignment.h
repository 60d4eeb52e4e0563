#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "data/batches.h"
#include "data/dataset_file.h"
#include "launcher/flags.h"
#include "model/model_config.h"
#include "model/shard.h"
#include "partition/adjacency.h"
#include "partition/ownership.h"
#include "partition/planning/byte_plan.h"
#include "partition/planning/step_needs.h"
#include "partition/process_grid.h"

namespace micrec {

/// The flag --partition, of train and of plan.
FlagSpec partition_flag();

/// The grids among which --grid=auto chooses. Those of a file have as many row parts as the file
/// has parts. Errors: Error(Cause::usage) where no such grid has `ranks` ranks; those of
/// count_parts().
std::vector<ProcessGrid> grids_for(const std::string& partition, int ranks, int dim);

/// The assignment that --partition names: balanced, hash, metis, or file:PATH. `graph`: the
/// training interactions, or null to have them read where they are needed. Errors   those of
/// assign_by_metis() and read_partition_file().
Ownership make_assignment(const std::string& partition, const DatasetFile& dataset,
                          const DatasetSummary& summary, int parts, const Adjacency* graph);

/// The same on every rank. METIS and files are left to rank 0, which sends the owners to the
/// others: METIS holds the whole graph several times, and a file need not be read by every rank at
/// once. Ranks    collective.
Ownership assign(const std::string& partition, const DatasetFile& dataset,
                 const DatasetSummary& summary, int parts, Communicator& communicator);

/// The grid that --grid means for that partition, without planning. "auto": as many row parts as
/// ranks, or as a file has parts. Errors   those of parse_grid() and grids_for().
ProcessGrid grid_of_flags(const std::string& grid, const std::string& partition, bool reproducible,
                          int ranks, int dim);

/// The grid that choose_grid() takes for a run, with the default rates of a machine, so that it is
/// the same on every start. Rank 0 plans, as that takes the whole graph, and tells the others.
/// Ranks    collective. Errors   those of grids_for() and make_assignment().
ProcessGrid planned_grid(const std::string& partition, const DatasetFile& dataset,
                         const DatasetSummary& summary, const ModelConfig& model,
                         const SamplingConfig& sampling, Communicator& communicator);

/// Who does what for which node. A reproducible run assigns the nodes to 16 summands, whatever the
/// grid, and row parts have these whole. Ranks    collective. Errors   those of assign();
/// Error(Cause::usage) where a reproducible run has more row parts than summands.
Layout layout_of_flags(const std::string& partition, bool reproducible, const DatasetFile& dataset,
                       const DatasetSummary& summary, const ProcessGrid& grid,
                       Communicator& communicator);

/// What a training step computes, and what of it each row part needs of others.
struct PlannedStep {
  StepShape shape;
  StepNeeds needs;
};

/// `rows`: the row part of every node. Ranks: local; the whole graph is in memory meanwhile.
PlannedStep plan_step(const Ownership& rows, const DatasetFile& dataset,
                      const DatasetSummary& summary, const ModelConfig& model,
                      const SamplingConfig& sampling);

/// The bytes that must travel in such a step, by name of the collective, over all ranks.
/// `semantic`: of each modality, as Model::semantic_halos() has them. Ranks: local.
std::map<std::string, double> bound_of_bytes(const PlannedStep& step, ProcessGrid grid,
                                             const std::vector<SemanticHalo>& semantic);

}  // namespace micrec
