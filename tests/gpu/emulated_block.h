#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/count_ahead_block.h"

namespace micrec {

/// All threads of a block, one after the other in each step, from the last to the first: none may
/// need what another does in the same step.
struct EmulatedBlock {
  template <typename T>
  using Threads = std::array<T, kRankThreads>;

  template <typename Body>
  void each(const Body& body) const {
    for (int thread = kRankThreads - 1; thread >= 0; --thread) body(thread);
  }
};

inline void emulate_places(const RankCall& call) {
  for (std::int64_t n = call.positives - 1; n >= 0; --n) place_positive(call, n);
}

inline void emulate_sums(const RankCall& call) {
  std::vector<SourceRun> runs(kRankThreads);
  for (std::int64_t user = call.last_user - 1; user >= call.first_user; --user) {
    sum_history(EmulatedBlock(), call, user, runs.data());
  }
}

inline void emulate_counts(const RankCall& call) {
  const auto tile = std::make_unique<RankTile>();
  for (std::int64_t task = rank_tasks(call) - 1; task >= 0; --task) {
    rank_task(EmulatedBlock(), call, *tile, task);
  }
}

}  // namespace micrec
