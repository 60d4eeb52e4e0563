#include "kernels/neighbour_sum.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <thread>

#include "base/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/gpu.h"
#include "kernels/neighbour_sum_call.h"
#include "kernels/rows.h"

namespace micrec {
namespace {

// What a row costs beside its neighbours, in neighbours.
constexpr std::int64_t kRowCost = 4;
// Enough tasks for the last ones to end together, each long enough to be worth handing out.
constexpr std::int64_t kTasksPerThread = 16;
constexpr std::int64_t kMinimumTask = 4096;

// Boundaries of `tasks` shares of about the same cost; cost_before(row) is rising.
template <typename CostBefore>
std::vector<std::int64_t> equal_shares(std::int64_t rows, std::int64_t tasks,
                                       const CostBefore& cost_before) {
  std::vector<std::int64_t> begins(tasks + 1, rows);
  const std::int64_t total = cost_before(rows);
  for (std::int64_t t = 0; t < tasks; ++t) {
    const std::int64_t target = total / tasks * t;
    std::int64_t low = t == 0 ? 0 : begins[t - 1];
    std::int64_t high = rows;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (cost_before(middle) < target) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    begins[t] = low;
  }
  return begins;
}

void run_on_cpu(const SumCall& call, const std::function<void()>& meanwhile) {
  std::vector<std::int64_t> costs;  // before each wanted row, where only some are
  if (call.rows) costs.resize(call.output_rows + 1, 0);
  for (std::int64_t i = 0; call.rows && i < call.output_rows; ++i) {
    const std::int64_t* const offset = call.offsets + place_of_row(call, call.rows[i]);
    costs[i + 1] = costs[i] + offset[1] - offset[0] + kRowCost;
  }
  const auto cost_before = [&](std::int64_t i) {
    return call.rows ? costs[i] : call.offsets[i] - call.offsets[0] + kRowCost * i;
  };
  const std::int64_t tasks = std::clamp<std::int64_t>(cost_before(call.output_rows) / kMinimumTask,
                                                      1, kTasksPerThread * compute_threads());
  const std::vector<std::int64_t> shares = equal_shares(call.output_rows, tasks, cost_before);

  const Kernels& kernel = kernels();
  const std::thread::id caller = std::this_thread::get_id();
  const std::int64_t pieces = call.hubs.piece_count;
  parallel_for(pieces + tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      if (task < pieces) {
        kernel.sum_hub_piece(call, task);
      } else {
        kernel.sum_rows(call, shares[task - pieces], shares[task - pieces + 1]);
      }
      if (meanwhile && std::this_thread::get_id() == caller) meanwhile();
    }
  });
  for (std::int64_t hub = 0; hub < call.hubs.hub_count; ++hub) kernel.finish_hub(call, hub);
}

}  // namespace

void neighbour_sum_into(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                        const SumOptions& options) {
  const c10::Device device = x.device();
  const c10::DeviceGuard guard(device);
  // Copies of lists go back to LibTorch's memory of a GPU's current stream, in whose order they are
  // used again: the kernel still finds them.
  const PreparedSum sum =
      prepare_sum(out, pattern, x, options, device.is_cpu() ? ListsOf::host : ListsOf::device);
  if (sum.call.output_rows == 0) return;
  if (device.is_cpu()) {
    run_on_cpu(sum.call, options.meanwhile);
  } else {
    neighbour_sum_on_gpu(sum.call, device);
  }
}

at::Tensor neighbour_sum(const Pattern& pattern, const at::Tensor& x, const SumOptions& options) {
  const std::int64_t rows = options.rows ? options.rows->size() : pattern.rows();
  at::Tensor out = empty_rows({rows, x.size(1)}, x.options());
  neighbour_sum_into(out, pattern, x, options);
  return out;
}

}  // namespace micrec
