#include "io/run_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/text.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

// What a holder on another machine is to this one: it cannot be asked.
LockHolder on_another_machine(double heartbeat_seconds = 0.02, double stale_seconds = 0.3) {
  LockHolder holder = this_process();
  holder.host = "elsewhere";
  holder.boot = holder.token;
  holder.heartbeat_seconds = heartbeat_seconds;
  holder.stale_seconds = stale_seconds;
  return holder;
}

// Takes a lock and dies with it, as by kill -9.
void take_and_die(const std::string& folder) {
  const pid_t child = fork();
  if (child == 0) {
    RunLock lock(folder);
    lock.try_take();
    _exit(0);
  }
  waitpid(child, nullptr, 0);
}

// What a holder leaves that dies with the lock in its hand.
std::string contents_of_dead(LockHolder holder) {
  const TemporaryFolder elsewhere;
  RunLock lock(elsewhere / "", std::move(holder));
  lock.try_take();
  return file_contents(elsewhere / "run.lock");
}

void set_age(const std::string& path, double seconds) {
  const std::int64_t now = std::time(nullptr);
  const struct timespec then[2] = {{now - static_cast<std::int64_t>(seconds), 0},
                                   {now - static_cast<std::int64_t>(seconds), 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), then, 0), 0);
}

// Tries until the lock is taken (true) or refused (false); how long it took.
struct Tried {
  bool taken = false;
  double seconds = 0;
  std::string message;
};
Tried try_until_known(RunLock& lock) {
  Tried tried;
  const Timer timer;
  try {
    while (!lock.try_take()) usleep(2000);
    tried.taken = true;
  } catch (const Error& error) {
    EXPECT_EQ(error.cause(), Cause::io);
    tried.message = error.what();
  }
  tried.seconds = timer.seconds();
  return tried;
}

TEST(RunLock, SaysWhoHasTheFolderAndIsGoneWithItsHolder) {
  const TemporaryFolder folder;
  {
    RunLock lock(folder / "");
    ASSERT_TRUE(lock.try_take());
    const std::optional<LockHolder> holder = lock_holder_of(folder / "");
    ASSERT_TRUE(holder.has_value());
    EXPECT_EQ(holder->process, getpid());
    EXPECT_EQ(holder->boot, this_process().boot);
    EXPECT_GT(holder->process_start, 0);
    EXPECT_FALSE(holder->started.empty());
  }
  EXPECT_TRUE(fs::is_empty(folder / ""));
}

TEST(RunLock, RefusesTheSecondOfOneMachineAtOnceAndNamesTheFirst) {
  const TemporaryFolder folder;
  RunLock first(folder / "");
  ASSERT_TRUE(first.try_take());
  RunLock second(folder / "");
  expect_error(Cause::io, {folder / "", "in use", text("process ", getpid()), this_process().host},
               [&] { second.try_take(); });
  first.check();
}

TEST(RunLock, OfAProcessOfThisMachineThatDiedIsTakenOverAtOnce) {
  const TemporaryFolder folder;
  take_and_die(folder / "");
  ASSERT_TRUE(lock_holder_of(folder / "").has_value());
  RunLock lock(folder / "");
  EXPECT_TRUE(lock.try_take());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), {}), 1) << "nothing else is left";
}

TEST(RunLock, IsNotHeldByAnotherProcessWithTheSameNumber) {
  const TemporaryFolder folder;
  LockHolder earlier = this_process();
  earlier.process_start -= 1;
  folder.write("run.lock", contents_of_dead(earlier));
  RunLock lock(folder / "");
  EXPECT_TRUE(lock.try_take());
}

TEST(RunLock, OfAnotherMachineIsRefusedAtASignOfLife) {
  const TemporaryFolder folder;
  RunLock first(folder / "", on_another_machine(0.02, 30));
  ASSERT_TRUE(first.try_take());
  RunLock second(folder / "");
  EXPECT_FALSE(second.try_take());
  expect_has(second.waits_for(), {"elsewhere"});
  const Tried tried = try_until_known(second);
  expect_has(tried.message, {"elsewhere"});
}

TEST(RunLock, ASignOfLifeCountsWhateverTheClocksSay) {
  const TemporaryFolder folder;
  // As old as can be, by a clock that is far behind; and yet touched while another waits.
  folder.write("run.lock", contents_of_dead(on_another_machine(0.5, 5)));
  set_age(folder / "run.lock", 1e6);
  RunLock lock(folder / "");
  EXPECT_FALSE(lock.try_take());
  set_age(folder / "run.lock", 1e6 - 7);
  expect_error(Cause::io, {"in use"}, [&] { lock.try_take(); });
}

TEST(RunLock, OfAnotherMachineThatDiedLongAgoIsTakenOverAfterTwoHeartbeats) {
  const TemporaryFolder folder;
  folder.write("run.lock", contents_of_dead(on_another_machine(0.05, 300)));
  set_age(folder / "run.lock", 1000);
  RunLock lock(folder / "");
  const Tried tried = try_until_known(lock);
  EXPECT_TRUE(tried.taken) << tried.message;
  EXPECT_GE(tried.seconds, 0.1);
}

TEST(RunLock, OfAnotherMachineThatDiesIsTakenOverOnceItIsStale) {
  for (const double age : {0.0, -1000.0}) {  // touched just now, or by a clock that is ahead
    const TemporaryFolder folder;
    folder.write("run.lock", contents_of_dead(on_another_machine()));
    set_age(folder / "run.lock", age);
    RunLock lock(folder / "");
    const Tried tried = try_until_known(lock);
    EXPECT_TRUE(tried.taken) << tried.message;
    EXPECT_GE(tried.seconds, age < 0 ? 0.3 : 0.04);
    EXPECT_LT(tried.seconds, 30);
  }
}

TEST(RunLock, ThatIsCutOffIsNotTakenForFree) {
  const std::string whole = contents_of_dead(on_another_machine());
  const TemporaryFolder folder;
  for (const std::size_t size : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
    folder.write("run.lock", whole.substr(0, size));
    set_age(folder / "run.lock", 1e6);
    RunLock lock(folder / "", on_another_machine());
    EXPECT_FALSE(lock.try_take()) << "whoever writes it may still be at it";
    expect_has(lock.waits_for(), {"unknown machine"});
  }
}

TEST(RunLock, OfATakerThatDiedBetweenItsTwoStepsIsTakenOver) {
  const TemporaryFolder folder;
  LockHolder dead = this_process();
  dead.process_start -= 1;
  LockHolder taker = this_process();
  taker.process_start -= 1;
  folder.write("run.lock", contents_of_dead(dead));
  folder.write("run.lock.after-" + dead.token, contents_of_dead(taker));
  RunLock lock(folder / "");
  EXPECT_TRUE(lock.try_take());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), {}), 1) << "nothing else is left";
}

TEST(RunLock, OfATakerThatLivesIsRespectedBeforeItsSecondStep) {
  const TemporaryFolder folder;
  LockHolder dead = this_process();
  dead.process_start -= 1;
  folder.write("run.lock", contents_of_dead(dead));
  folder.write("run.lock.after-" + dead.token, contents_of_dead(this_process()));
  RunLock lock(folder / "");
  expect_error(Cause::io, {"in use", text("process ", getpid())}, [&] { lock.try_take(); });
}

TEST(RunLock, AHolderThatWasTakenForDeadHearsOfIt) {
  const TemporaryFolder folder;
  RunLock lock(folder / "");
  ASSERT_TRUE(lock.try_take());
  lock.check();
  fs::remove(folder / "run.lock");  // by hand: nobody has taken it
  lock.check();
  EXPECT_EQ(lock_holder_of(folder / "")->process, getpid());
  folder.write("run.lock", contents_of_dead(on_another_machine()));
  expect_error(Cause::io, {folder / "", "taken over", "elsewhere"}, [&] { lock.check(); });
}

TEST(RunLock, NamesAFolderThatIsNotThere) {
  const TemporaryFolder folder;
  RunLock lock(folder / "nowhere");
  expect_error(Cause::io, {folder / "nowhere", "No such file"}, [&] { lock.try_take(); });
}

TEST(RunLock, OfManyThatFindItStaleAtTheSameInstantOneHasIt) {
  constexpr int kTakers = 6;
  constexpr int kRounds = 300;
  const TemporaryFolder folder;
  std::barrier together(kTakers + 1);
  std::atomic<int> holders = 0;
  std::vector<std::thread> takers;
  for (int taker = 0; taker < kTakers; ++taker) {
    takers.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        RunLock lock(folder / "");
        together.arrive_and_wait();
        try {
          holders += lock.try_take() ? 1 : 0;
        } catch (const Error&) {
          // Another one was first.
        }
        together.arrive_and_wait();  // The lock is given back after it was counted.
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    LockHolder dead = this_process();
    dead.process_start -= 1;
    folder.write("run.lock", contents_of_dead(dead));
    holders = 0;
    together.arrive_and_wait();
    together.arrive_and_wait();
    EXPECT_EQ(holders, 1) << "round " << round;
    // Whoever has it gives it back; until then the next round cannot be made ready.
    while (fs::exists(folder / "run.lock")) std::this_thread::yield();
  }
  for (std::thread& taker : takers) taker.join();
  EXPECT_TRUE(fs::is_empty(folder / ""));
}

// Takes the lock `rounds` times, each time alone, gives it back every other time, and dies with it
// at last. Exit code 0: it was always alone.
int take_many_times(const std::string& folder, int rounds) {
  const std::string inside = folder + "/inside";
  for (int round = 0; round < rounds; ++round) {
    auto lock = std::make_unique<RunLock>(folder);
    while (true) {
      try {
        if (lock->try_take()) break;
      } catch (const Error& error) {
        if (std::string(error.what()).find("in use") == std::string::npos) return 2;
      }
      usleep(100);
    }
    const int file = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0666);
    if (file < 0) return 1;
    ::close(file);
    ::unlink(inside.c_str());
    if (round + 1 == rounds) _exit(0);
  }
  return 3;
}

// Eight at a time, each of which dies with the lock: all find it stale at once.
TEST(RunLock, IsNeverTakenByTwoWhenManyFindItStaleAtOnce) {
  const TemporaryFolder folder;
  const std::string place = fs::path(folder / "x").parent_path().string();
  constexpr int kAtOnce = 8;
  constexpr int kTakers = 120;
  int started = 0;
  int running = 0;
  while (started < kTakers || running > 0) {
    if (started < kTakers && running < kAtOnce) {
      if (fork() == 0) _exit(take_many_times(place, 1 + started % 3));
      ++started;
      ++running;
      continue;
    }
    int status = 0;
    ASSERT_GT(wait(&status), 0);
    --running;
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 0);
  }
  RunLock lock(place);
  EXPECT_TRUE(lock.try_take());
}

}  // namespace
}  // namespace micrec
