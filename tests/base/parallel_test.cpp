#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(ParallelFor, VisitsEveryNumberOnce) {
  for (const int threads : {1, 2, 5}) {
    const ComputeThreads scope(threads);
    for (const std::int64_t count : {0, 1, 7, 100, 1001}) {
      for (const std::int64_t chunk : {1, 7, 100, 5000}) {
        std::vector<std::atomic<int>> visits(count);
        parallel_for(count, chunk, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t n = begin; n < end; ++n) ++visits[n];
        });
        for (const auto& visit : visits) ASSERT_EQ(visit, 1);
      }
    }
  }
}

TEST(ParallelFor, NeverCallsForNothing) {
  const ComputeThreads threads(3);
  int calls = 0;
  parallel_for(0, 10, [&](std::int64_t, std::int64_t) { ++calls; });
  parallel_for(-1, 10, [&](std::int64_t, std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ParallelFor, ThrowsAgainWhatABodyThrew) {
  for (const int threads : {1, 4}) {
    const ComputeThreads scope(threads);
    std::atomic<int> chunks = 0;
    const std::string refusal = refusal_of(Cause::data, [&] {
      parallel_for(100, 10, [&](std::int64_t begin, std::int64_t) {
        ++chunks;
        if (begin <= 50) throw Error(Cause::data, "chunk at " + std::to_string(begin));
      });
    });
    EXPECT_EQ(refusal.substr(0, 9), "chunk at ");
    EXPECT_GE(chunks, 1);
    EXPECT_EQ(compute_threads(), threads);
  }
}

/// Counts who comes, and waits for all of them; false where some do not come.
class Meeting {
 public:
  explicit Meeting(int expected) : left_(expected) {}
  bool attend() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (--left_ == 0) all_came_.notify_all();
    return all_came_.wait_for(lock, std::chrono::seconds(30), [&] { return left_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_came_;
  int left_;
};

TEST(ParallelFor, ComputesWithAsManyThreadsAsAreSaid) {
  for (const int threads : {2, 5}) {
    const ComputeThreads scope(threads);
    Meeting chunks(threads), workers(threads);
    std::atomic<int> met = 0;
    parallel_for(threads, 1, [&](std::int64_t, std::int64_t) { met += chunks.attend() ? 1 : 0; });
    EXPECT_EQ(met, threads);
    std::vector<std::atomic<int>> chunks_of(threads);
    parallel_for_workers(threads, 1, [&](std::int64_t worker, std::int64_t, std::int64_t) {
      met += workers.attend() ? 1 : 0;
      ++chunks_of[worker];
    });
    EXPECT_EQ(met, 2 * threads);
    for (const auto& count : chunks_of) EXPECT_EQ(count, 1);
  }
}

TEST(ParallelFor, DoesNotNest) {
  const ComputeThreads threads(3);
  std::vector<std::atomic<int>> inside(6);
  parallel_for(6, 1, [&](std::int64_t n, std::int64_t) {
    inside[n] = compute_threads();
    const std::thread::id self = std::this_thread::get_id();
    parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      EXPECT_EQ(end - begin, 10);
    });
  });
  for (const auto& threads_of_body : inside) EXPECT_EQ(threads_of_body, 1);
  EXPECT_EQ(compute_threads(), 3);
  parallel_for(6, 6, [&](std::int64_t, std::int64_t) { EXPECT_EQ(compute_threads(), 3); });
}

TEST(ComputeThreads, AreOfTheirThreadAndAsBeforeAtTheEnd) {
  EXPECT_EQ(compute_threads(), 1);
  {
    const ComputeThreads outer(4);
    {
      const ComputeThreads inner(2);
      EXPECT_EQ(compute_threads(), 2);
    }
    EXPECT_EQ(compute_threads(), 4);
    std::thread([] { EXPECT_EQ(compute_threads(), 1); }).join();
  }
  EXPECT_EQ(compute_threads(), 1);
  EXPECT_DEATH(ComputeThreads(0), "threads");
}

}  // namespace
}  // namespace micrec
