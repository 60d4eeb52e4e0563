#pragma once

#include <cstdint>
#include <map>
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
};

/// What travelled between the ranks in a number of training steps.
struct Traffic {
  int ranks = 1;
  std::int64_t steps = 0;
  std::map<std::string, LedgerOverRanks> names;

  /// From what each rank counted. Ranks: collective.
  static Traffic of(Communicator& communicator, std::int64_t steps, const LedgerEntries& own);
  void add(const Traffic& more);

  /// Measured bytes a step by name, over all ranks: what a plan's bound is compared with.
  std::map<std::string, double> bytes_per_step() const;

  /// A line a name, the most bytes first.
  std::vector<TrafficLine> lines() const;
  /// The lines for people, with sums by phase; empty where nothing travelled.
  std::string to_table() const;
};

}  // namespace micrec
