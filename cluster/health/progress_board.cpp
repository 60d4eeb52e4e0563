#include "cluster/health/progress_board.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr std::uint64_t kMagic = 0x6d69637265633031;
constexpr std::size_t kNameWords = 8;
constexpr std::size_t kMessageWords = 128;

std::int64_t now_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // the same clock in all processes of a machine
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

double seconds_since(std::int64_t nanoseconds) {
  return std::max(0.0, 1e-9 * static_cast<double>(now_nanoseconds() - nanoseconds));
}

// Text in shared memory, as words that can be written while others read.
template <std::size_t kWords>
struct SharedText {
  std::array<std::atomic<std::uint64_t>, kWords> words;

  void set(const char* value, std::size_t length) {
    std::array<std::uint64_t, kWords> copy{};
    if (length > 0) std::memcpy(copy.data(), value, std::min(length, sizeof copy - 1));
    for (std::size_t i = 0; i < kWords; ++i) words[i].store(copy[i], std::memory_order_release);
  }
  std::string get() const {
    std::array<std::uint64_t, kWords> copy{};
    for (std::size_t i = 0; i < kWords; ++i) copy[i] = words[i].load(std::memory_order_acquire);
    const char* begin = reinterpret_cast<const char*>(copy.data());
    return {begin, strnlen(begin, sizeof copy)};
  }
};

std::string place(const RankProgress& progress) {
  return place_of(progress.collective.c_str(), progress.number, progress.group.c_str());
}

}  // namespace

std::string place_of(const char* collective, std::uint64_t number, const char* group) {
  const bool is_whole_run = group == nullptr || *group == '\0';
  return text("'", collective, "' (collective ", number, ")",
              is_whole_run ? "" : text(" of '", group, "'"));
}

// A version that is odd while its rank writes: a reader that sees it change reads again.
struct ProgressBoard::Line {
  std::atomic<std::uint64_t> version;
  std::atomic<std::int32_t> rank;
  std::atomic<std::int32_t> process;
  std::atomic<std::int32_t> state;
  std::atomic<std::uint64_t> number;
  std::atomic<std::uint64_t> entered;
  std::atomic<std::int64_t> since_nanoseconds;
  SharedText<kNameWords> collective;
  SharedText<kNameWords> group;
};

struct ProgressBoard::Memory {
  std::uint64_t magic;
  std::int32_t lines;
  std::atomic<std::int32_t> verdict_taken;  // 0: nobody; 1: being written; 2: there
  std::atomic<std::int32_t> verdict_rank;
  std::atomic<std::int32_t> verdict_exit_code;
  std::atomic<std::int64_t> verdict_nanoseconds;
  SharedText<kMessageWords> verdict_message;
  Line line[1];
};

std::unique_ptr<ProgressBoard> ProgressBoard::create(int lines) {
  CHECK_GE(lines, 1);
  CHECK_LE(lines, kMostLines);
  const std::string name = text("/micrec-", getpid(), "-", now_nanoseconds());
  const int descriptor = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (descriptor < 0) {
    throw Error(Cause::io, "cannot make shared memory in /dev/shm: ", std::strerror(errno),
                "; it needs a few kilobytes there");
  }
  const std::size_t bytes = sizeof(Memory) + static_cast<std::size_t>(lines) * sizeof(Line);
  // Taken now: a full /dev/shm is an error here and not a signal at the first write.
  if (const int error = posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)); error != 0) {
    shm_unlink(name.c_str());
    ::close(descriptor);
    throw Error(Cause::io, "cannot take ", bytes,
                " bytes of shared memory in /dev/shm: ", std::strerror(error), "; make room there");
  }
  auto board = std::unique_ptr<ProgressBoard>(new ProgressBoard(name, descriptor));
  board->memory_->lines = lines;
  board->memory_->magic = kMagic;
  return board;
}

std::unique_ptr<ProgressBoard> ProgressBoard::open(const std::string& name) {
  const int descriptor = shm_open(name.c_str(), O_RDWR, 0);
  if (descriptor < 0) {
    throw Error(Cause::io, "cannot open the shared memory ", name,
                " in /dev/shm: ", std::strerror(errno),
                "; do all ranks of the machine see the same /dev/shm?");
  }
  return std::unique_ptr<ProgressBoard>(new ProgressBoard(name, descriptor));
}

std::unique_ptr<ProgressBoard> ProgressBoard::adopt(int descriptor) {
  return std::unique_ptr<ProgressBoard>(new ProgressBoard("", descriptor));
}

ProgressBoard::ProgressBoard(std::string name, int descriptor)
    : name_(std::move(name)), descriptor_(descriptor) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "it is shared by processes");
  struct stat status {};
  PCHECK(fstat(descriptor_, &status) == 0);
  bytes_ = static_cast<std::size_t>(status.st_size);
  CHECK_GE(bytes_, sizeof(Memory));
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  PCHECK(memory != MAP_FAILED);
  memory_ = static_cast<Memory*>(memory);  // fresh pages are zero: all lines are `starting`
}

ProgressBoard::~ProgressBoard() {
  munmap(memory_, bytes_);
  ::close(descriptor_);
}

int ProgressBoard::lines() const { return memory_->magic == kMagic ? memory_->lines : 0; }

void ProgressBoard::remove_name() { shm_unlink(name_.c_str()); }

void ProgressBoard::take_line(int line, int rank) {
  CHECK_GE(line, 0);
  CHECK_LT(line, lines());
  own_line_ = line;
  Line& own = memory_->line[line];
  own.rank.store(rank, std::memory_order_release);
  own.process.store(getpid(), std::memory_order_release);
  leave();
}

// Under the lock. Without a collective the line keeps the one it shows.
void ProgressBoard::write(RankProgress::State state, const Latest* collective) {
  if (own_line_ < 0) return;
  Line& own = memory_->line[own_line_];
  own.version.fetch_add(1, std::memory_order_acq_rel);
  if (collective != nullptr) {
    own.collective.set(collective->collective, std::strlen(collective->collective));
    own.group.set(collective->group,
                  collective->group == nullptr ? 0 : std::strlen(collective->group));
    own.number.store(collective->number, std::memory_order_release);
    own.entered.store(entered_, std::memory_order_release);
  }
  own.state.store(static_cast<std::int32_t>(state), std::memory_order_release);
  own.since_nanoseconds.store(now_nanoseconds(), std::memory_order_release);
  own.version.fetch_add(1, std::memory_order_release);
}

void ProgressBoard::enter(const char* collective, std::uint64_t number, const char* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++entered_;
  latest_ = {collective, number, group};
  waits_beside_ = nullptr;
  write(RankProgress::State::waiting, &latest_);
}

void ProgressBoard::leave() { set_state(RankProgress::State::outside); }

void ProgressBoard::set_state(RankProgress::State state) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // What it was in when it failed stays visible.
  if (state != RankProgress::State::failing) waits_beside_ = nullptr;
  write(state, nullptr);
}

std::uint64_t ProgressBoard::begin(const char* collective, std::uint64_t number,
                                   const char* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++entered_;
  latest_ = {collective, number, group};
  waits_beside_ = nullptr;
  write(RankProgress::State::outside, &latest_);
  return entered_;
}

void ProgressBoard::wait_beside(const void* who, const char* collective, std::uint64_t number,
                                const char* group, std::uint64_t begun) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (own_line_ < 0 || waits_beside_ != nullptr) return;
  const auto state = static_cast<RankProgress::State>(
      memory_->line[own_line_].state.load(std::memory_order_relaxed));
  if (state != RankProgress::State::outside) return;
  waits_beside_ = who;
  const std::uint64_t all = std::exchange(entered_, begun);
  const Latest shown = {collective, number, group};
  write(RankProgress::State::waiting, &shown);
  entered_ = all;
}

void ProgressBoard::leave_beside(const void* who) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (waits_beside_ != who) return;
  waits_beside_ = nullptr;
  const auto state = static_cast<RankProgress::State>(
      memory_->line[own_line_].state.load(std::memory_order_relaxed));
  if (state == RankProgress::State::waiting) write(RankProgress::State::outside, &latest_);
}

RankProgress ProgressBoard::read(int line) const {
  const Line& from = memory_->line[line];
  RankProgress progress;
  // A rank that was stopped in the middle of writing leaves the version odd: its line is read as it
  // is.
  const std::int64_t begin = now_nanoseconds();
  constexpr std::int64_t kMostNanoseconds = 200'000'000;
  while (true) {
    const std::uint64_t before = from.version.load(std::memory_order_acquire);
    progress.rank = from.rank.load(std::memory_order_acquire);
    progress.process = from.process.load(std::memory_order_acquire);
    progress.state = static_cast<RankProgress::State>(from.state.load(std::memory_order_acquire));
    progress.collective = from.collective.get();
    progress.group = from.group.get();
    progress.number = from.number.load(std::memory_order_acquire);
    progress.entered = from.entered.load(std::memory_order_acquire);
    progress.seconds = seconds_since(from.since_nanoseconds.load(std::memory_order_acquire));
    // Whoever has read a word of a later write sees its odd version too, for the words are released
    // and acquired.
    if (before % 2 == 0 && from.version.load(std::memory_order_relaxed) == before) break;
    if (now_nanoseconds() - begin > kMostNanoseconds) break;
    sched_yield();
  }
  if (progress.state == RankProgress::State::starting) progress.seconds = 0;
  return progress;
}

std::vector<RankProgress> ProgressBoard::read_all() const {
  std::vector<RankProgress> all;
  for (int line = 0; line < lines(); ++line) all.push_back(read(line));
  return all;
}

bool ProgressBoard::give_verdict(const Verdict& verdict) {
  std::int32_t nobody = 0;
  if (!memory_->verdict_taken.compare_exchange_strong(nobody, 1)) return false;
  memory_->verdict_rank = verdict.rank;
  memory_->verdict_exit_code = verdict.exit_code;
  memory_->verdict_nanoseconds = now_nanoseconds();
  memory_->verdict_message.set(verdict.message.data(), verdict.message.size());
  memory_->verdict_taken = 2;
  return true;
}

std::optional<Verdict> ProgressBoard::verdict() const {
  if (memory_->verdict_taken != 2) return std::nullopt;
  return Verdict{memory_->verdict_rank, memory_->verdict_exit_code, memory_->verdict_message.get(),
                 seconds_since(memory_->verdict_nanoseconds)};
}

std::string RankProgress::describe() const {
  const std::string last =
      collective.empty() ? "it has entered none yet" : text("it was last seen in ", place(*this));
  switch (state) {
    case State::starting:
      return "has not joined yet";
    case State::outside:
      return text("has been in no collective for ", in_time(seconds), "; ", last);
    case State::waiting:
      return text("has waited for ", in_time(seconds), " in ", place(*this));
    case State::failing:
      return text("met an error ", in_time(seconds), " ago; ", last);
    case State::ended:
      return text("has ended ", in_time(seconds), " ago; ", last);
  }
  return "";
}

std::string RankProgress::where() const {
  if (collective.empty()) return "before its first collective";
  if (state == State::waiting || state == State::failing) return text("in ", place(*this));
  return text("in no collective, ", in_time(seconds), " after ", place(*this));
}

namespace {

// All are in collectives, equally many: one that is in another than most of them.
std::optional<Suspect> find_disagreement(const ProgressBoard& board, int ranks) {
  const std::vector<RankProgress> all = board.read_all();
  const auto together = [&](const RankProgress& progress) {
    return std::ranges::count_if(
        all, [&](const RankProgress& other) { return place(other) == place(progress); });
  };
  const auto [odd, usual] = std::minmax_element(
      all.begin(), all.end(),
      [&](const RankProgress& a, const RankProgress& b) { return together(a) < together(b); });
  if (odd == all.end() || place(*odd) == place(*usual)) return std::nullopt;
  return Suspect{odd->rank, text("rank ", odd->rank, " of ", ranks, " is in ", place(*odd),
                                 " while rank ", usual->rank, " is in ", place(*usual),
                                 ": the ranks do not do the same; --check_collectives shows where "
                                 "they part")};
}

/// What a process does, as the system says; empty where it is gone.
std::string state_of_process(pid_t process) {
  std::ifstream file(text("/proc/", process, "/stat"));
  std::string line;
  if (!std::getline(file, line)) return "";
  const std::size_t name_end = line.rfind(')');  // the name itself may have any character
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return "";
  switch (line[name_end + 2]) {
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "in an uninterruptible wait, as for a disk or a network file system";
    case 'T':
      return "stopped by a signal (SIGCONT lets it go on)";
    case 't':
      return "stopped by a debugger";
    case 'Z':
    case 'X':
      return "";
    default:
      return "in an unknown state";
  }
}

}  // namespace

std::optional<Suspect> find_suspect(const ProgressBoard& board, int ranks) {
  using State = RankProgress::State;
  std::vector<RankProgress> behind;
  std::optional<RankProgress> ahead;  // that waits, the furthest
  for (const RankProgress& progress : board.read_all()) {
    if (progress.state == State::waiting || progress.state == State::failing) {
      if (!ahead || progress.entered > ahead->entered) ahead = progress;
    }
    if (progress.state != State::failing) behind.push_back(progress);
  }
  if (!ahead) return std::nullopt;
  if (behind.empty()) return find_disagreement(board, ranks);

  std::vector<std::string> doing;
  for (const RankProgress& progress : behind) {
    doing.push_back(progress.state == State::starting ? "starting"
                                                      : state_of_process(progress.process));
  }
  const auto order = [&](std::size_t i) {
    const RankProgress& progress = behind[i];
    if (doing[i].empty()) return 0;
    if (doing[i].starts_with("stopped") || progress.state == State::ended) return 1;
    if (progress.state == State::starting) return 2;
    return progress.state == State::outside ? 3 : 4;
  };
  std::size_t most = 0;
  for (std::size_t i = 1; i < behind.size(); ++i) {
    if (order(i) != order(most)) {
      if (order(i) < order(most)) most = i;
    } else if (order(i) == 4 ? behind[i].entered < behind[most].entered
                             : behind[i].seconds > behind[most].seconds) {
      most = i;
    }
  }
  const RankProgress& suspect = behind[most];
  if (order(most) == 4 && suspect.entered >= ahead->entered) return find_disagreement(board, ranks);
  const bool in_it = suspect.state == State::waiting && suspect.entered == ahead->entered;
  return Suspect{
      suspect.rank,
      text("rank ", suspect.rank, " of ", ranks,
           in_it ? " does not go on in " : " has not reached ", place(*ahead), ": its process is ",
           doing[most].empty() ? "gone" : doing[most], " and ", suspect.describe())};
}

}  // namespace micrec
