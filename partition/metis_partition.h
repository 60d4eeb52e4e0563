#pragma once

#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// How far the heaviest part may be above the mean, 0.05 = 5%.
struct PartBalance {
  double nonzeros = 0.05;
  double rows = 0.10;  ///< users and items
};

/// Few halo rows: METIS' k-way partition of the graph of people and items with the communication
/// volume as objective. A person with all their nodes is one vertex, and moving a vertex's rows
/// costs as many rows as it has nodes. Two weights a vertex are balanced, nonzeros and rows; parts
/// that METIS leaves heavier than `balance` allows give units to parts with room, those with most
/// neighbours there first. A single person or item above the limit stays alone above it.
///
/// More than 16 parts are made in groups of parts: 64 are 16 of 4.
///
/// Deterministic: METIS runs with one fixed seed. With fewer than eight units a part there is
/// nothing for METIS to find, and the result is assign_balanced's.
///
/// Ranks    local, and METIS in a process that is forked. It keeps several copies of the whole
///          graph, so a job lets one rank call this and send the owners to the others, instead of
///          taking that memory once a rank.
/// Errors   Error(Cause::usage) where the graph has more nonzeros or units than the installed
///          library numbers, or where METIS fails or runs out of memory; Error(Cause::cluster)
///          where no process can be begun.
/// Cost     about 3 s and 0.5 GB for gowalla (1.6 million nonzeros) in 8 parts, one thread.
/// Source   Karypis and Kumar, Multilevel k-way partitioning scheme for irregular graphs, 1998.
Ownership assign_by_metis(const NodeSpace& space, const People& people, const Adjacency& graph,
                          int parts, const PartBalance& balance = {});

}  // namespace micrec
