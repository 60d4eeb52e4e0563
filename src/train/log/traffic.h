#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// What the collectives of one name cost a training step.
struct TrafficLine {
  std::string name;
  double calls = 0;               ///< of a rank
  double bytes = 0;               ///< sent from one rank to another, over all ranks
  double largest_rank_bytes = 0;  ///< sent by the rank that sends most
  double waited_seconds = 0;      ///< of a rank, on average: it stood still
  double hidden_seconds = 0;      ///< of a rank, on average: they travelled while it worked
  double planned_bytes = 0;       ///< of the bytes, those that the plan foresees
  double bound_bytes = 0;         ///< and how many it says must travel, over all ranks

  /// planned_bytes / bound_bytes; nothing where nothing is planned.
  std::optional<double> over_bound() const;
  TrafficLine& operator+=(const TrafficLine& more);
};

/// What travelled between the ranks in a number of training steps.
struct Traffic {
  int ranks = 1;
  std::int64_t steps = 0;
  std::map<std::string, LedgerOverRanks> names;
  std::map<std::string, double> bound_bytes;  ///< a step, by name: see BytePlan; may lack names

  /// From what each rank counted. Ranks: collective.
  static Traffic of(Communicator& communicator, std::int64_t steps, const LedgerEntries& own);
  void add(const Traffic& more);

  /// A line a name, the most bytes first.
  std::vector<TrafficLine> lines() const;
  /// All lines together.
  TrafficLine sum() const;
  /// The lines for people, with sums by phase; empty where nothing travelled.
  std::string to_table() const;
};

/// What the fit of item regression took.
struct FittedRegression {
  double seconds = 0;                     ///< on rank 0
  std::optional<double> planned_seconds;  ///< of the slowest rank
  Traffic sent;                           ///< as of one step, beside the most that was planned
};

}  // namespace micrec
