#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "kernels/mixed_rows_element.h"
#include "kernels/neighbour_sum_warp.h"
#include "kernels/triple_element.h"

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
  float largest(const Lanes<float>& numbers) const { return *std::ranges::max_element(numbers); }
  double sum(Lanes<double> numbers) const {
    for (int apart = kWarpLanes / 2; apart > 0; apart /= 2) {
      const Lanes<double> before = numbers;
      for (int lane = 0; lane < kWarpLanes; ++lane) numbers[lane] += before[lane ^ apart];
    }
    return numbers[0];
  }
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

/// As a block adds its threads' sums, of_thread(thread).
template <int threads, typename OfThread>
auto emulate_sum(const OfThread& of_thread) {
  std::vector<decltype(of_thread(0))> sums;
  for (int thread = 0; thread < threads; ++thread) sums.push_back(of_thread(thread));
  for (int half = threads / 2; half > 0; half /= 2) {
    for (int thread = 0; thread < half; ++thread) sums[thread] += sums[thread + half];
  }
  return sums[0];
}

inline void emulate(const TripleCall& call) {
  const std::int64_t chunks = triple_chunks(call.n);
  for (std::int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
    const TriplePair sum = emulate_sum<kTripleThreads>(
        [&](int thread) { return triples_of_thread(call, chunk, thread); });
    if (chunks == 1) return finish_triples(call, sum);
    call.partial[2 * chunk] = sum.ranking;
    call.partial[2 * chunk + 1] = sum.squares;
  }
  add_triple_chunks(call);
}

inline void emulate_of_tables(const MixedRowsGradient& call) {
  for (std::int64_t i = call.of.sorts * call.entries - 1; i >= 0; --i) {
    call.of_tables[i] = static_cast<float>(
        emulate_sum<kEntryThreads>([&](int thread) { return entry_of_thread(call, i, thread); }));
  }
}

}  // namespace micrec
