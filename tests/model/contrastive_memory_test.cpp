// The memory that a contrastive step takes, counted allocation by allocation: those of the C++
// library by the operators below, tensors' by LibTorch's own reports.
#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "cluster/thread_communicator.h"
#include "model/contrastive.h"

namespace {

std::atomic<std::int64_t> taken_bytes = 0;
std::atomic<std::int64_t> most_bytes = 0;

void count(std::int64_t bytes) {
  const std::int64_t now = taken_bytes += bytes;
  std::int64_t most = most_bytes;
  while (now > most && !most_bytes.compare_exchange_weak(most, now)) {
  }
}

}  // namespace

void* operator new(std::size_t size) {
  void* const memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  count(static_cast<std::int64_t>(malloc_usable_size(memory)));
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  count(-static_cast<std::int64_t>(malloc_usable_size(memory)));
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept { operator delete(memory); }

namespace micrec {
namespace {

class TensorReports : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*data*/, std::int64_t bytes, std::size_t /*allocated*/,
                         std::size_t /*reserved*/, c10::Device /*device*/) override {
    count(bytes);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

// The most bytes that two ranks hold at a time during a step over so many people, beyond their
// rows.
std::int64_t bytes_of_step(std::int64_t people, std::int64_t dim) {
  std::int64_t most = 0;
  std::vector<std::int32_t> positions(people);
  std::iota(positions.begin(), positions.end(), 0);
  run_ranks(2, [&](Communicator& communicator) {
    const c10::DebugInfoGuard reports(c10::DebugInfoKind::PROFILER_STATE,
                                      std::make_shared<TensorReports>());
    const at::Tensor first = at::randn({people / 2, dim}).requires_grad_(true);
    const at::Tensor second = at::randn({people / 2, dim}).requires_grad_(true);
    communicator.barrier("rows are there");
    const std::int64_t before = taken_bytes;
    if (communicator.rank() == 0) most_bytes = before;
    communicator.barrier("counting");
    contrastive_share(first, second, {people / 2, people / 2}, positions, 0.2, communicator, 1)
        .backward();
    communicator.barrier("done");
    if (communicator.rank() == 0) most = most_bytes - before;
  });
  return most;
}

// The logits of the largest step alone would be 1 GiB.
TEST(ContrastiveMemory, IsLinearInPeople) {
  constexpr std::int64_t kDim = 16;
  const std::int64_t quarter = bytes_of_step(4'096, kDim);
  const std::int64_t half = bytes_of_step(8'192, kDim);
  const std::int64_t all = bytes_of_step(16'384, kDim);
  // Two ranks hold 8 * dim bytes a person of all and a few numbers; so do gradients of own people.
  EXPECT_GT(half - quarter, 4'096 * 2 * 8 * kDim);
  EXPECT_LT(half - quarter, 4'096 * 2 * (12 * kDim + 100));
  EXPECT_LT(all - half, 2.1 * static_cast<double>(half - quarter));
  EXPECT_LT(all, 32 << 20);
}

}  // namespace
}  // namespace micrec
