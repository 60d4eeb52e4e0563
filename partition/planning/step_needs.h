#pragma once

#include <cstdint>
#include <vector>

#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// Rows that travel in one whole halo exchange.
struct HaloCounts {
  std::vector<std::int64_t> sent;      // (parts) rows times receivers
  std::vector<std::int64_t> received;  // (parts) remote rows, each once

  std::int64_t total() const;  ///< over all parts
};

/// What each part sends and receives, without making anybody's lists. `readers`: see Adjacency.
/// Cost     one pass over the nonzeros, whatever the number of parts.
HaloCounts count_halo(const Adjacency& readers, const Ownership& ownership);

/// What one modality's semantic neighbours exchange, forward and backward.
struct SemanticHalo {
  HaloCounts forward;
  HaloCounts backward;
};

/// The halo of semantic neighbours that are not known yet, taking them as uniformly drawn from the
/// items of their domain that have the modality. Real ones are concentrated on fewer items, so this
/// is on the high side. `present`: (items) 1 where an item has the modality, by node number less
/// the users.
SemanticHalo expected_semantic_halo(const NodeSpace& space, const Adjacency& graph,
                                    const std::vector<std::uint8_t>& present,
                                    const Ownership& ownership, int neighbours);

/// How a step's triples are drawn, and whom the contrastive loss takes.
struct BatchShape {
  std::int64_t triples = 2048;  ///< of all ranks
  bool by_user = false;         ///< users drawn uniformly, instead of every interaction once
  bool has_contrastive = false;
  std::int64_t contrastive_batch = 0;  ///< people of each pair of domains; 0: all
};

/// People who are trained on in both domains of an OverlapPair.
struct OverlapCounts {
  std::int64_t people = 0;
  std::vector<std::int64_t> people_of_part;  // (parts)
  double chosen = 0;                         ///< of them in a step
};

/// What a training step needs of which part, on average: exact expected numbers over the draws of a
/// full batch, not bounds.
///
/// A batch draws `triples` interactions of an epoch's permutation without replacement (or users
/// uniformly), and for each an item uniformly among those of the domain that the user does not
/// have.
struct StepNeeds {
  HaloCounts halo;
  std::vector<double> triples;          // (parts) worked on by the user's owner
  std::vector<double> wanted_rows;      // (parts) owned rows whose final rows somebody needs
  std::vector<double> wanted_nonzeros;  // (parts) their neighbours
  std::vector<double> requested_items;  // (parts) owned items that any part, itself too, needs
  std::vector<double> items_sent;       // (parts) batch items times other parts that need them
  std::vector<double> items_received;   // (parts) batch items of others
  std::vector<double> active_sent;      // (parts) halo rows that are wanted, times receivers
  std::vector<double> active_received;  // (parts)
  std::vector<OverlapCounts> overlaps;

  int parts() const { return static_cast<int>(triples.size()); }
};

/// `graph`: training interactions; `eligible`: (items) 1 where an item may be a negative.
/// Cost     a few passes over the nonzeros, and domains * parts.
StepNeeds expected_needs(const NodeSpace& space, const People& people, const Adjacency& graph,
                         const std::vector<std::uint8_t>& eligible, const Ownership& ownership,
                         const BatchShape& batch);

}  // namespace micrec
