#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/count_ahead_block.h"
#include "kernels/item_systems_block.h"

namespace micrec {

/// All threads of a block, one after the other in each step, from the last to the first: none may
/// need what another does in the same step.
template <int threads>
struct EmulatedBlock {
  template <typename T>
  using Threads = std::array<T, threads>;

  template <typename Body>
  void each(const Body& body) const {
    for (int thread = threads - 1; thread >= 0; --thread) body(thread);
  }
};

inline void emulate_places(const RankCall& call) {
  for (std::int64_t n = call.positives - 1; n >= 0; --n) place_positive(call, n);
}

inline void emulate_sums(const RankCall& call) {
  std::vector<SourceRun> runs(kRankThreads);
  for (std::int64_t user = call.last_user - 1; user >= call.first_user; --user) {
    sum_history(EmulatedBlock<kRankThreads>(), call, user, runs.data());
  }
}

inline void emulate_counts(const RankCall& call) {
  const auto tile = std::make_unique<RankTile>();
  for (std::int64_t task = rank_tasks(call) - 1; task >= 0; --task) {
    rank_task(EmulatedBlock<kRankThreads>(), call, *tile, task);
  }
}

inline void emulate_alike(const ItemSystemsCall& call) {
  const auto tile = std::make_unique<AlikeTile>();
  for (std::int64_t task = alike_tasks(call) - 1; task >= 0; --task) {
    alike_task(EmulatedBlock<kSystemThreads>(), call, *tile, task);
  }
}

inline void emulate_systems(const ItemSystemsCall& call) {
  const auto space = std::make_unique<SystemSpace>();
  for (std::int64_t task = system_tasks(call) - 1; task >= 0; --task) {
    system_task(EmulatedBlock<kSystemThreads>(), call, *space, task);
  }
}

}  // namespace micrec
