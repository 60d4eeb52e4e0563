#include "base/ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.h"

namespace micrec {
namespace {

using Numbers = Ahead<std::unique_ptr<std::int64_t>>;

std::unique_ptr<std::int64_t> square(std::int64_t n) {
  return std::make_unique<std::int64_t>(n * n);
}

TEST(Ahead, GivesWhatIsAskedForInAnyOrder) {
  for (const auto where : {Numbers::Where::in_place, Numbers::Where::on_a_thread}) {
    Numbers numbers(square, where);
    for (const std::int64_t n : {0, 1, 2, 3, 3, 7, 8, 2, 3}) {
      EXPECT_EQ(*numbers.take(n, /*next_follows=*/n % 4 != 3), n * n);
    }
  }
}

TEST(Ahead, MakesTheNextOnAThreadOfItsOwnAndNeverTwoAtATime) {
  std::atomic<int> under_way = 0;
  std::atomic<bool> overlapped = false;
  std::vector<std::thread::id> threads(4);
  const ComputeThreads scope(3);
  {
    Numbers numbers(
        [&](std::int64_t n) {
          if (++under_way > 1) overlapped = true;
          EXPECT_EQ(compute_threads(), 3);
          threads[n] = std::this_thread::get_id();
          --under_way;
          return square(n);
        },
        Numbers::Where::on_a_thread);
    for (std::int64_t n = 0; n < 4; ++n) EXPECT_EQ(*numbers.take(n, n < 3), n * n);
  }
  EXPECT_FALSE(overlapped);
  EXPECT_EQ(threads[0], std::this_thread::get_id());
  EXPECT_NE(threads[1], threads[0]);
  EXPECT_EQ(threads[2], threads[1]);
  EXPECT_EQ(threads[3], threads[1]);
}

TEST(Ahead, ThrowsWhatMakingHasThrownWhereItIsTaken) {
  for (const auto where : {Numbers::Where::in_place, Numbers::Where::on_a_thread}) {
    Numbers numbers(
        [](std::int64_t n) {
          if (n == 2) throw std::runtime_error("two");
          return square(n);
        },
        where);
    EXPECT_EQ(*numbers.take(1, true), 1);
    try {
      numbers.take(2, true);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), std::string("two"));
    }
    EXPECT_EQ(*numbers.take(3, true), 9);
  }
}

TEST(Ahead, WaitsAtItsEndForWhatIsBeingMade) {
  for (const bool next_follows : {false, true}) {
    std::atomic<int> begun = 0;
    std::atomic<int> ended = 0;
    {
      Numbers numbers(
          [&](std::int64_t n) {
            ++begun;
            std::unique_ptr<std::int64_t> made = square(n);
            ++ended;
            return made;
          },
          Numbers::Where::on_a_thread);
      numbers.take(0, next_follows);
    }
    EXPECT_EQ(begun, ended);
    EXPECT_LE(begun, next_follows ? 2 : 1);
  }
}

}  // namespace
}  // namespace micrec
