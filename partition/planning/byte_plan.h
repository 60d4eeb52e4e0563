#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "partition/planning/step_needs.h"
#include "partition/process_grid.h"

namespace micrec {

/// What a training step computes, as far as bytes, memory and time depend on it.
struct StepShape {
  std::int64_t dim = 64;  ///< columns over all column parts
  int layers = 3;
  int domains = 1;
  BatchShape batch;
  bool has_l2 = false;

  bool has_templates = false;  ///< template embedding and tokens
  bool has_self_loss = false;
  int content_modalities = 0;
  std::vector<std::int64_t> content_columns;  ///< of each content modality, after projection
  int semantic_modalities = 0;
  int semantic_neighbours = 0;
  bool has_cold_simulation = false;  ///< all final rows are computed, and semantic means of them
  bool shares_templates = false;     ///< over a person's domains

  /// Numbers of the parameters that every row part has, as their gradients travel: all of them by
  /// column, coefficients of the modalities too (one for every set of modalities, and domain).
  std::int64_t dense_by_column() const;
  std::int64_t dense_scalars() const;  ///< coefficients, once their columns are summed
  /// Semantic products a step, forward; as many come back.
  int semantic_products() const;
};

/// What one modality's semantic neighbours exchange, forward and backward.
struct SemanticHalo {
  HaloCounts forward;
  HaloCounts backward;
};

/// The halo of semantic neighbours that are not known yet, taking them as uniformly drawn from the
/// items of their domain that have the modality. Real ones are concentrated on fewer items, so this
/// is on the high side.
/// `present`: (items) 1 where an item has the modality, by node number less the users.
SemanticHalo expected_semantic_halo(const NodeSpace& space, const Adjacency& graph,
                                    const std::vector<std::uint8_t>& present,
                                    const Ownership& ownership, int neighbours);

/// The bytes that one collective, by its name in the code, sends in a step.
struct CollectiveBytes {
  std::string name;
  double calls = 0;           ///< exchanges a step, whatever their size
  double messages = 0;        ///< to other ranks a rank and step
  std::vector<double> bytes;  // (ranks) sent to other ranks in a step

  double total() const;  ///< of all ranks
  double most() const;   ///< of the busiest rank
};

/// All collectives of a step, in the order in which they are first met.
struct BytePlan {
  std::vector<CollectiveBytes> collectives;

  double total() const;
  std::vector<double> bytes_of_ranks() const;                  // (ranks)
  double most() const;                                         ///< of the busiest rank
  const CollectiveBytes* find(const std::string& name) const;  ///< null where there is none
};

/// The bytes that must move in a training step, on average: every row that another rank needs, once
/// a receiver, and the lists that name them. What travels for the same purpose but need not (rows
/// sent twice, buffers padded to a common size, control messages) is not in it, so that a ledger of
/// what was sent can be held against it.
///
/// Shapes   needs and semantic halos have grid.rows parts; the result has grid.ranks() ranks.
/// Ranks    local.
/// Cost     ranks * collectives.
BytePlan plan_bytes(const StepShape& shape, ProcessGrid grid, const StepNeeds& needs,
                    const std::vector<SemanticHalo>& semantic);

}  // namespace micrec
