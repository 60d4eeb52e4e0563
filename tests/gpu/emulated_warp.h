#pragma once

#include <array>
#include <cstdint>

#include "kernels/row_sum.h"
#include "kernels/row_sum_call.h"

namespace micrec {

/// All lanes of a warp, one after the other in each step.
struct EmulatedWarp {
  template <typename T>
  using Lanes = std::array<T, kWarpLanes>;

  template <typename Body>
  void each(const Body& body) const {
    for (int lane = 0; lane < kWarpLanes; ++lane) body(lane);
  }
  std::uint32_t ballot(const Lanes<bool>& flags) const {
    std::uint32_t bits = 0;
    for (int lane = 0; lane < kWarpLanes; ++lane) bits |= std::uint32_t{flags[lane]} << lane;
    return bits;
  }
  Neighbour pick(const Lanes<Neighbour>& values, int lane) const { return values[lane]; }
};

template <typename Stored, int width>
void emulate_row_sum(const RowSumCall& call) {
  const RowSumWork<Stored> work = call.typed<Stored>();
  // From the last to the first: no task may need another.
  for (std::int64_t task = call.hubs.piece_count + call.output_rows - 1; task >= 0; --task) {
    sum_task<Stored, width>(EmulatedWarp(), work, call.hubs, task);
  }
  for (std::int64_t i = 0; i < call.hubs.hub_count * call.work.dim; ++i) {
    finish_hub_number(work, call.hubs, i);
  }
}

}  // namespace micrec
