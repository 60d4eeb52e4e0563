#include "train/plan/calibration.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/random.h"
#include "base/timer.h"
#include "kernels/neighbour_sum.h"
#include "kernels/row_product.h"

namespace micrec {
namespace {

constexpr int kRepeats = 5;

double median_seconds(const std::function<void()>& body) {
  body();
  std::vector<double> seconds;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const Timer timer;
    body();
    seconds.push_back(timer.seconds());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  return seconds[kRepeats / 2];
}

double neighbour_rate(int dim) {
  constexpr std::int64_t kRows = 60'000;
  constexpr std::int64_t kNeighbours = 16;
  const Random random(0, Purpose::synthetic);
  Pattern pattern;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t n = 0; n < kNeighbours; ++n) {
      // One of each of as many equal ranges, so that they rise.
      const std::int64_t begin = kRows * n / kNeighbours;
      pattern.columns.push_back(static_cast<std::int32_t>(
          begin +
          static_cast<std::int64_t>(random.index(kRows / kNeighbours, row * kNeighbours + n))));
    }
    pattern.offsets.push_back(static_cast<std::int64_t>(pattern.columns.size()));
  }
  const at::Tensor x = at::ones({kRows, dim}, at::kFloat);
  const double seconds = median_seconds([&] { neighbour_sum(pattern, x, {}); });
  return static_cast<double>(kRows * kNeighbours) * 4 * (dim + 1) / seconds;
}

double matrix_rate(int dim) {
  constexpr std::int64_t kRows = 8192;
  constexpr std::int64_t kInner = 128;
  const at::Tensor x = at::ones({kRows, kInner}, at::kFloat);
  const at::Tensor w = at::ones({kInner, dim}, at::kFloat);
  const double seconds = median_seconds([&] { row_product(x, w); });
  return 2.0 * kRows * kInner * dim / seconds;
}

double copy_rate() {
  const at::Tensor from = at::ones({std::int64_t{16} << 20}, at::kFloat);
  at::Tensor to = at::empty_like(from);
  const double seconds = median_seconds([&] { to.copy_(from); });
  return static_cast<double>(from.nbytes()) / seconds;
}

/// Seconds of an exchange of `bytes` each way between two ranks. Ranks: collective.
double exchange_seconds(Communicator& communicator, std::int64_t bytes, int repeats) {
  const at::Tensor send = at::zeros({bytes}, at::kByte);
  std::vector<std::int64_t> rows(2, 0);
  rows[1 - communicator.rank()] = bytes;
  const double seconds = median_seconds([&] {
    for (int repeat = 0; repeat < repeats; ++repeat) {
      communicator.all_to_all("calibrate", send, rows, rows);
    }
  });
  return seconds / repeats;
}

}  // namespace

MachineRates calibrate(int dim) {
  MachineRates rates;
  rates.neighbour_bytes_per_second = neighbour_rate(dim);
  rates.matrix_operations_per_second = matrix_rate(dim);
  rates.copy_bytes_per_second = copy_rate();
  return rates;
}

void calibrate_messages(Communicator& communicator, MachineRates& rates) {
  constexpr std::int64_t kLargeBytes = 16 << 20;
  CHECK_EQ(communicator.size(), 2);
  const double message = exchange_seconds(communicator, 1, 500);
  const double large = exchange_seconds(communicator, kLargeBytes, 1);
  if (communicator.rank() != 0) return;
  rates.message_seconds = message;
  rates.network_bytes_per_second = static_cast<double>(kLargeBytes) / std::max(1e-9, large);
}

}  // namespace micrec
