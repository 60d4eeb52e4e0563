#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "graph/nearest_neighbours.h"
#include "graph/neighbour_search.h"

namespace micrec {

/// Which items ask for their nearest neighbours, and among which.
struct NeighbourQuestion {
  FeatureSource source;
  std::vector<std::uint8_t> eligible;  // (items) 1 where an item may be a neighbour
  std::vector<std::int32_t> asked_by;  // (items) the rank that asks for its neighbours, -1: none
  int k = 1;
};

struct NeighbourOptions {
  NeighbourSearch search = NeighbourSearch::automatic;
  int graphs = kNeighbourGraphs;
  double least_recall = kLeastRecall;
};

/// The neighbours of the items that this rank asks for, by rising number of those; see
/// nearest_neighbours() for what they are. The question is the same on every rank.
///
/// An approximate search builds hierarchical graphs of near items, each over an equal range of the
/// eligible ones and by one thread in the order of their numbers; ranks and threads share the
/// graphs, and every query asks all of them. Within a graph rows are whole numbers of a byte, whose
/// products are exact, so that a graph is the same on every processor; what it offers is ranked by
/// the cosines of nearest_neighbours(). How far it is searched is the least that finds enough of
/// the true neighbours of a sample of the items that ask, which are searched for exactly; where no
/// distance does, all are.
///
/// Ranks    collective among those of `communicator`, null for one alone; the answer is the same on
///          any number of ranks and threads.
/// Errors   as nearest_neighbours().
/// Cost     exact: see there. Approximate: about as items^1.1; of a graph at a time and thread the
///          rows as floats and as bytes with 64 links, and of every query k numbers and cosines.
/// Source   HNSW (Malkov and Yashunin, arXiv:1603.09320), by hnswlib.
NumberLists find_neighbours(const NeighbourQuestion& question, const NeighbourOptions& options,
                            Communicator* communicator, NeighbourSearchReport* report = nullptr);

/// "among 1,000,000 items, approximately: recall .9923 of 512 items, in 5 min".
std::string in_words(const NeighbourSearchReport& report);

/// What the memory of a search depends on.
struct NeighbourSearchSize {
  NeighbourSearch search = NeighbourSearch::automatic;
  double eligible = 0;
  double asked = 0;  ///< by all ranks
  double own = 0;    ///< by the rank
  double width = 0;
  int k = 1;
  int ranks = 1;
};

/// The bytes that a rank needs at most, with as many threads as graphs.
double most_search_bytes(const NeighbourSearchSize& size);

/// Which graphs a rank builds and which of the queries it asks them: one of `parts` parts.
struct GraphShare {
  std::vector<int> graphs;
  int part = 0;
  int parts = 1;
};
GraphShare share_of_graphs(int rank, int ranks, int graphs);

/// What a rank sends in an approximate search, in bytes but for the sum over how many are found of
/// `sampled` items, 8 bytes each; `found` travels unless the search is given up.
struct SearchTraffic {
  double sample = 0;
  double found = 0;
  std::int64_t sampled = 0;
};

/// Of every rank; see NeighbourQuestion. Shapes   asked_by: (items); returns (ranks). Ranks: local.
std::vector<SearchTraffic> traffic_of_search(const std::vector<std::int32_t>& asked_by, int k,
                                             int ranks);

/// Of how many items an approximate search looks for the true neighbours too.
inline constexpr std::int64_t kSampledItems = 512;

}  // namespace micrec
