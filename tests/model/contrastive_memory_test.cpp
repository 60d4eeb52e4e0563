// The memory that a contrastive step takes, counted allocation by allocation: those of the C++
// library by the operators below, tensors' by LibTorch's own reports.
#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <vector>

#include "cluster/thread_communicator.h"
#include "model/contrastive_share.h"

namespace {

// Of the calling thread, which is a rank: what ranks hold at the same moment depends on how they
// meet.
thread_local std::int64_t taken_bytes = 0;
thread_local std::int64_t most_bytes = 0;

void count(std::int64_t bytes) {
  taken_bytes += bytes;
  most_bytes = std::max(most_bytes, taken_bytes);
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

// The most bytes that each of two ranks holds at a time during a step over so many people, beyond
// its rows; both ranks' together.
std::int64_t bytes_of_step(std::int64_t people, std::int64_t dim) {
  std::int64_t most = 0;
  std::mutex mutex;
  std::vector<std::int32_t> positions(people);
  std::iota(positions.begin(), positions.end(), 0);
  run_ranks(2, [&](Communicator& communicator) {
    const c10::DebugInfoGuard reports(c10::DebugInfoKind::PROFILER_STATE,
                                      std::make_shared<TensorReports>());
    const at::Tensor first = at::randn({people / 2, dim}).requires_grad_(true);
    const at::Tensor second = at::randn({people / 2, dim}).requires_grad_(true);
    const std::int64_t before = taken_bytes;
    most_bytes = before;
    contrastive_share(first, second, {people / 2, people / 2}, positions, 0.2, communicator)
        .backward();
    const std::lock_guard<std::mutex> lock(mutex);
    most += most_bytes - before;
  });
  return most;
}

// The logits of the largest step alone would be 256 MiB.
TEST(ContrastiveMemory, IsLinearInPeople) {
  constexpr std::int64_t kDim = 16;
  std::vector<std::int64_t> bytes;
  for (const std::int64_t people : {2'048, 4'096, 8'192}) {
    bytes.push_back(bytes_of_step(people, kDim));
    // Each of two ranks holds 8 * dim bytes of every person, another 8 * dim are the gradients, and
    // there are positions and sums; packed rows are 4 MiB a rank at most, and some tiles.
    EXPECT_GT(bytes.back(), people * 24 * kDim);
    EXPECT_LT(bytes.back(), people * (24 * kDim + 200) + 2 * (5 << 20));
  }
  EXPECT_LT(bytes[2] - bytes[1], 2.1 * static_cast<double>(bytes[1] - bytes[0]));
}

}  // namespace
}  // namespace micrec
