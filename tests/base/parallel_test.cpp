#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"

namespace micrec {
namespace {

TEST(ParallelFor, VisitsEveryNumberOnce) {
  for (const int threads : {0, 1, 2, 5}) {
    for (const std::int64_t count : {0, 1, 7, 100, 1001}) {
      for (const std::int64_t chunk : {1, 7, 100, 5000}) {
        std::vector<std::atomic<int>> visits(count);
        parallel_for(count, chunk, threads, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t n = begin; n < end; ++n) ++visits[n];
        });
        for (const auto& visit : visits) ASSERT_EQ(visit, 1);
      }
    }
  }
}

TEST(ParallelFor, NeverCallsForNothing) {
  int calls = 0;
  parallel_for(0, 10, 3, [&](std::int64_t, std::int64_t) { ++calls; });
  parallel_for(-1, 10, 3, [&](std::int64_t, std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ParallelFor, ThrowsAgainWhatABodyThrew) {
  for (const int threads : {1, 4}) {
    std::atomic<int> chunks = 0;
    try {
      parallel_for(100, 10, threads, [&](std::int64_t begin, std::int64_t) {
        ++chunks;
        if (begin <= 50) throw Error(Cause::data, "chunk at " + std::to_string(begin));
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.cause(), Cause::data);
      EXPECT_EQ(std::string(error.what()).substr(0, 9), "chunk at ");
    }
    EXPECT_GE(chunks, 1);
  }
}

}  // namespace
}  // namespace micrec
