#pragma once

#include <array>
#include <cstdint>

#include "kernels/neighbour_sum_warp.h"

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

/// A call as a GPU runs it.
template <typename Number, int width>
void emulate(const SumCall& call) {
  // From the last to the first: no task may need another.
  for (std::int64_t task = call.hubs.piece_count + call.output_rows - 1; task >= 0; --task) {
    sum_task<Number, width>(EmulatedWarp(), call, task);
  }
  for (std::int64_t i = 0; i < call.hubs.hub_count * call.dim; ++i) finish_hub_number(call, i);
}

}  // namespace micrec
