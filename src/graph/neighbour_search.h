#pragma once

#include <cstdint>

namespace micrec {

/// How the nearest neighbours by features are searched for.
enum class NeighbourSearch {
  automatic,    ///< approximately where that is the quicker way: see is_approximate()
  exact,        ///< every pair is looked at
  approximate,  ///< by graphs of near items
};

/// As flags and files have it.
constexpr const char* name_of(NeighbourSearch search) {
  if (search == NeighbourSearch::exact) return "exact";
  return search == NeighbourSearch::approximate ? "approximate" : "auto";
}

/// Beyond so many items that ask for their neighbours among as many, every pair takes longer than
/// the graphs.
inline constexpr std::int64_t kMostSearchedExactly = 100'000;

/// Automatically where more items than that may be neighbours, and there are more pairs to look at
/// than of that many items: a few that ask are not worth graphs of all.
constexpr bool is_approximate(NeighbourSearch search, std::int64_t eligible_items,
                              std::int64_t asking_items) {
  if (search != NeighbourSearch::automatic) return search == NeighbourSearch::approximate;
  constexpr auto kMost = static_cast<double>(kMostSearchedExactly);
  const auto eligible = static_cast<double>(eligible_items);
  return eligible > kMost && eligible * static_cast<double>(asking_items) > kMost * kMost;
}

/// The graphs of an approximate search: each over an equal range of the items, whatever the number
/// of ranks and threads, so that its answer is the same for any.
inline constexpr int kNeighbourGraphs = 4;
/// An approximate search that finds less of the true neighbours is given up for the exact one.
inline constexpr double kLeastRecall = 0.98;

/// What a search did.
struct NeighbourSearchReport {
  std::int64_t eligible = 0;  ///< items that may be neighbours
  std::int64_t asking = 0;    ///< items of all ranks whose neighbours were searched for
  bool tried_graphs = false;  ///< searched approximately ...
  bool is_exact = true;       ///< ... and that was given up, or never begun
  double recall = 1;          ///< of the graphs: share of the true neighbours found, of ...
  std::int64_t sampled = 0;   ///< ... so many items
  double seconds = 0;
};

}  // namespace micrec
