#include "cluster/health/progress_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A process of its own that takes a line and then waits to be ended.
class OtherRank {
 public:
  OtherRank(const ProgressBoard& board, int line, const std::function<void(ProgressBoard&)>& acts) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    process_ = fork();
    if (process_ == 0) {
      const auto own = ProgressBoard::adopt(dup(board.descriptor()));
      own->take_line(line, line);
      acts(*own);
      const char done = 'x';
      if (write(ready[1], &done, 1) != 1) _exit(1);
      while (true) pause();
    }
    char done = 0;
    EXPECT_EQ(read(ready[0], &done, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~OtherRank() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  pid_t process() const { return process_; }

 private:
  pid_t process_;
};

void in_halo(ProgressBoard& board) {
  board.enter("job.batch", 1);
  board.leave();
  board.enter("job.halo", 2);
}

TEST(ProgressBoard, ShowsWhatAnotherProcessDoes) {
  const auto board = ProgressBoard::create(2);
  EXPECT_EQ(board->read(1).state, RankProgress::State::starting);
  const OtherRank other(*board, 1, in_halo);
  const RankProgress progress = board->read(1);
  EXPECT_EQ(progress.rank, 1);
  EXPECT_EQ(progress.process, other.process());
  EXPECT_EQ(progress.state, RankProgress::State::waiting);
  EXPECT_EQ(progress.collective, "job.halo");
  EXPECT_EQ(progress.number, 2U);
  EXPECT_EQ(progress.entered, 2U);
  EXPECT_EQ(progress.where(), "in 'job.halo' (collective 2)");
  board->remove_name();
}

TEST(ProgressBoard, ShowsARankThatRanAheadInWhatItsGpuWaitsIn) {
  const auto board = ProgressBoard::create(1);
  board->remove_name();
  board->take_line(0, 0);
  const std::uint64_t first = board->begin("job.first", 1, nullptr);
  board->begin("job.second", 2, "grid.rows");
  EXPECT_EQ(board->read(0).state, RankProgress::State::outside);
  EXPECT_EQ(board->read(0).collective, "job.second");
  EXPECT_EQ(board->read(0).entered, 2U);

  const int who = 0;
  const int other = 0;
  board->wait_beside(&who, "job.first", 1, nullptr, first);
  board->wait_beside(&other, "job.second", 2, "grid.rows", 2);
  board->leave_beside(&other);
  EXPECT_EQ(board->read(0).where(), "in 'job.first' (collective 1)");
  EXPECT_EQ(board->read(0).entered, 1U);

  board->leave_beside(&who);
  EXPECT_EQ(board->read(0).state, RankProgress::State::outside);
  EXPECT_EQ(board->read(0).group, "grid.rows");
  EXPECT_EQ(board->read(0).entered, 2U);

  // What the rank's own thread waits in goes first, and a failure leaves it to be seen.
  board->enter("job.halo", 3);
  board->wait_beside(&who, "job.first", 1, nullptr, first);
  EXPECT_EQ(board->read(0).where(), "in 'job.halo' (collective 3)");
  board->leave();
  board->wait_beside(&who, "job.first", 1, nullptr, first);
  board->set_state(RankProgress::State::failing);
  EXPECT_EQ(board->read(0).where(), "in 'job.first' (collective 1)");
}

TEST(FindSuspect, IsTheRankThatHasNotBegunWhatAnothersGpuWaitsIn) {
  const auto board = ProgressBoard::create(3);
  board->remove_name();
  const auto runs_ahead = [](ProgressBoard& own) {
    const std::uint64_t first = own.begin("job.first", 1, nullptr);
    own.begin("job.second", 2, nullptr);
    own.wait_beside(&own, "job.first", 1, nullptr, first);
  };
  const OtherRank ahead(*board, 0, runs_ahead);
  const OtherRank behind(*board, 1, [](ProgressBoard& own) { own.leave(); });
  const OtherRank with_it(*board, 2, [](ProgressBoard& own) {
    own.wait_beside(&own, "job.first", 1, nullptr, own.begin("job.first", 1, nullptr));
  });
  const std::optional<Suspect> suspect = find_suspect(*board, 3);
  ASSERT_TRUE(suspect);
  EXPECT_EQ(suspect->rank, 1);
  EXPECT_THAT(suspect->sentence, HasSubstr("has not reached 'job.first' (collective 1)"));
}

TEST(ProgressBoard, IsOpenedByNameUntilThatIsRemoved) {
  const auto board = ProgressBoard::create(3);
  const auto again = ProgressBoard::open(board->name());
  EXPECT_EQ(again->lines(), 3);
  board->take_line(2, 7);
  EXPECT_EQ(again->read(2).rank, 7);
  board->remove_name();
  EXPECT_THROW(ProgressBoard::open(board->name()), Error);
  board->enter("job.later", 4);
  EXPECT_EQ(again->read(2).collective, "job.later") << "the memory outlives its name";
}

TEST(ProgressBoard, ALongNameIsCut) {
  const auto board = ProgressBoard::create(1);
  board->remove_name();
  board->take_line(0, 0);
  board->enter(std::string(200, 'x').c_str(), 1);
  EXPECT_EQ(board->read(0).collective, std::string(63, 'x'));
}

TEST(ProgressBoard, ALineIsNotReadHalfWritten) {
  const auto board = ProgressBoard::create(1);
  board->remove_name();
  board->take_line(0, 0);
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= 20'000; ++i) board->enter(i % 2 == 0 ? "even" : "odd", i);
  });
  int torn = 0;
  for (int i = 0; i < 20'000; ++i) {
    const RankProgress progress = board->read(0);
    if (progress.number == 0) continue;
    const bool fits = progress.collective == (progress.number % 2 == 0 ? "even" : "odd") &&
                      progress.entered == progress.number;
    torn += fits ? 0 : 1;
  }
  writer.join();
  // A busy machine may keep the writer away in the middle of a line for longer than a reader waits.
  EXPECT_LE(torn, 2);
}

TEST(ProgressBoard, TheFirstVerdictStays) {
  const auto board = ProgressBoard::create(1);
  board->remove_name();
  EXPECT_FALSE(board->verdict());
  EXPECT_TRUE(board->give_verdict({3, 5, "rank 3 was killed", 0}));
  EXPECT_FALSE(board->give_verdict({1, 4, "no room", 0}));
  const std::optional<Verdict> verdict = board->verdict();
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->rank, 3);
  EXPECT_EQ(verdict->exit_code, 5);
  EXPECT_EQ(verdict->message, "rank 3 was killed");
}

TEST(FindSuspect, IsNobodyWhereAllWaitInTheSame) {
  const auto board = ProgressBoard::create(2);
  board->remove_name();
  const OtherRank first(*board, 0, in_halo);
  const OtherRank second(*board, 1, in_halo);
  EXPECT_FALSE(find_suspect(*board, 2));
}

TEST(FindSuspect, IsTheRankOutsideOfCollectives) {
  const auto board = ProgressBoard::create(3);
  board->remove_name();
  const OtherRank first(*board, 0, in_halo);
  const OtherRank second(*board, 1, [](ProgressBoard& own) {
    own.enter("job.batch", 1);
    own.leave();
  });
  const OtherRank third(*board, 2, in_halo);
  const std::optional<Suspect> suspect = find_suspect(*board, 3);
  ASSERT_TRUE(suspect);
  EXPECT_EQ(suspect->rank, 1);
  EXPECT_THAT(suspect->sentence,
              StartsWith("rank 1 of 3 has not reached 'job.halo' (collective 2): its process is "));
  EXPECT_THAT(suspect->sentence, HasSubstr("last seen in 'job.batch' (collective 1)"));
}

TEST(FindSuspect, IsTheStoppedRankEvenInACollective) {
  const auto board = ProgressBoard::create(2);
  board->remove_name();
  const OtherRank first(*board, 0, in_halo);
  const OtherRank second(*board, 1, in_halo);
  kill(first.process(), SIGSTOP);
  waitpid(first.process(), nullptr, WUNTRACED);
  const std::optional<Suspect> suspect = find_suspect(*board, 2);
  ASSERT_TRUE(suspect);
  EXPECT_EQ(suspect->rank, 0);
  EXPECT_THAT(suspect->sentence,
              StartsWith("rank 0 of 2 does not go on in 'job.halo' (collective 2): its process is "
                         "stopped by a signal"));
}

TEST(FindSuspect, IsTheRankThatHasEnteredFewer) {
  const auto board = ProgressBoard::create(2);
  board->remove_name();
  const OtherRank first(*board, 0, in_halo);
  const OtherRank second(*board, 1, [](ProgressBoard& own) { own.enter("job.batch", 1); });
  const std::optional<Suspect> suspect = find_suspect(*board, 2);
  ASSERT_TRUE(suspect);
  EXPECT_EQ(suspect->rank, 1);
  EXPECT_THAT(suspect->sentence, HasSubstr("in 'job.batch' (collective 1)"));
}

TEST(FindSuspect, IsTheRankInAnotherCollectiveThanMost) {
  const auto board = ProgressBoard::create(3);
  board->remove_name();
  const OtherRank first(*board, 0, in_halo);
  const OtherRank second(*board, 1, in_halo);
  const OtherRank third(*board, 2, [](ProgressBoard& own) {
    own.enter("job.batch", 1);
    own.enter("job.loss", 2);
  });
  const std::optional<Suspect> suspect = find_suspect(*board, 3);
  ASSERT_TRUE(suspect);
  EXPECT_EQ(suspect->rank, 2);
  EXPECT_THAT(suspect->sentence, StartsWith("rank 2 of 3 is in 'job.loss' (collective 2) while "));
}

}  // namespace
}  // namespace micrec
