#include "io/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/descriptor.h"
#include "io/paths.h"

namespace micrec {
namespace {

constexpr char kName[] = "run.lock";
constexpr char kFirstLine[] = "micrec run lock";
constexpr std::size_t kMostBytes = 4096;
constexpr int kMostRounds = 1000;
constexpr double kLongestStaleSeconds = 3600;  // whatever a damaged file says

std::string line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// State and start of a process of this machine, as /proc/PID/stat has them; nothing where the
/// system does not show them.
struct ProcessState {
  char state = 0;
  std::int64_t start = 0;
};
std::optional<ProcessState> process_state(const std::string& process) {
  const std::string line = line_of(text("/proc/", process, "/stat"));
  const std::size_t name_end = line.rfind(')');  // A name may have blanks and brackets in it.
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = split(line.substr(name_end + 1), ' ');
  constexpr std::size_t kState = 1;  // after the blank that follows the name
  constexpr std::size_t kStart = 20;
  if (fields.size() <= kStart || fields[kState].empty()) return std::nullopt;
  const std::optional<std::int64_t> start = parse_integer(fields[kStart]);
  if (!start) return std::nullopt;
  return ProcessState{fields[kState][0], *start};
}

std::string link_at(const char* path) {
  char target[256];
  const ssize_t size = ::readlink(path, target, sizeof target);
  return size < 0 ? "" : std::string(target, static_cast<std::size_t>(size));
}

std::string new_token() {
  std::random_device random;
  char token[33];
  std::snprintf(token, sizeof token, "%08x%08x%08x%08x", random(), random(), random(), random());
  return token;
}

enum class Life { alive, dead, unknown };

/// What this system knows of the holder.
Life ask_system(const LockHolder& holder, const LockHolder& self) {
  if (holder.process <= 0 || holder.boot.empty() || holder.boot != self.boot ||
      holder.pid_namespace.empty() || holder.pid_namespace != self.pid_namespace) {
    return Life::unknown;
  }
  if (::kill(static_cast<pid_t>(holder.process), 0) != 0 && errno == ESRCH) return Life::dead;
  const std::optional<ProcessState> process = process_state(std::to_string(holder.process));
  if (!process) return Life::unknown;  // another user's, hidden
  const bool has_ended = process->state == 'Z' || process->state == 'X';
  return has_ended || process->start != holder.process_start ? Life::dead : Life::alive;
}

std::string to_text(const LockHolder& holder) {
  return text(kFirstLine, "\nhost=", holder.host, "\nboot=", holder.boot,
              "\npid_namespace=", holder.pid_namespace, "\nprocess=", holder.process,
              "\nprocess_start=", holder.process_start, "\nstarted=", holder.started,
              "\njob=", holder.job, "\nheartbeat_seconds=", holder.heartbeat_seconds,
              "\nstale_seconds=", holder.stale_seconds, "\ntoken=", holder.token, "\nend\n");
}

/// Nothing where it is not whole: it is being written, or was when its machine failed.
std::optional<LockHolder> parse(const std::string& contents) {
  const std::vector<std::string> lines = split(contents, '\n');
  if (lines.empty() || lines.front() != kFirstLine || !contents.ends_with("\nend\n")) {
    return std::nullopt;
  }
  LockHolder holder;
  for (const std::string& line : lines) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = line.substr(0, equals);
    const std::string value = printable(line.substr(equals + 1));
    if (name == "host") holder.host = value;
    if (name == "boot") holder.boot = value;
    if (name == "pid_namespace") holder.pid_namespace = value;
    if (name == "process") holder.process = parse_integer(value).value_or(0);
    if (name == "process_start") holder.process_start = parse_integer(value).value_or(0);
    if (name == "started") holder.started = value;
    if (name == "job") holder.job = value;
    if (name == "token") holder.token = value;
    if (name == "heartbeat_seconds") holder.heartbeat_seconds = parse_real(value).value_or(5);
    if (name == "stale_seconds") holder.stale_seconds = parse_real(value).value_or(60);
  }
  const bool is_token = !holder.token.empty() &&
                        holder.token.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_token) return std::nullopt;
  holder.stale_seconds = std::clamp(holder.stale_seconds, 0.0, kLongestStaleSeconds);
  holder.heartbeat_seconds = std::clamp(holder.heartbeat_seconds, 0.0, holder.stale_seconds);
  return holder;
}

/// Writes all of it and has the server take it; returns errno, 0 where all is well.
int write_all(const Descriptor& file, std::string_view contents) {
  return file.ok() && file.write(contents) && file.sync() ? 0 : errno;
}

/// Number and time of an open file as the server has them now, not as this machine remembers them.
struct FileTime {
  std::uint64_t number = 0;
  double seconds = 0;
};
std::optional<FileTime> time_of(const Descriptor& file) {
  struct statx asked {};
  if (::statx(file.id(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_INO | STATX_MTIME,
              &asked) == 0) {
    return FileTime{asked.stx_ino,
                    static_cast<double>(asked.stx_mtime.tv_sec) + 1e-9 * asked.stx_mtime.tv_nsec};
  }
  struct stat status {};  // an older system, or a container that does not let statx() through
  if (::fstat(file.id(), &status) != 0) return std::nullopt;
  return FileTime{status.st_ino, static_cast<double>(status.st_mtim.tv_sec) +
                                     1e-9 * static_cast<double>(status.st_mtim.tv_nsec)};
}

/// The time that a machine sleeps counts.
double seconds_after_boot() {
  struct timespec time {};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::string lock_path(const std::string& folder) {
  return folder.ends_with('/') ? folder + kName : folder + "/" + kName;
}

/// What is at a path; nothing where nothing is.
std::optional<FoundLock> read_lock(const std::string& path) {
  constexpr int kTries = 3;  // A file that was replaced while it was opened is gone on NFS.
  for (int tried = 1;; ++tried) {
    const Descriptor file(path, O_RDONLY);
    if (!file.ok() && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (!file.ok() && (errno != ESTALE || tried == kTries)) refuse_path("open", path, errno);
    const std::optional<FileTime> time = file.ok() ? time_of(file) : std::nullopt;
    if (!time) {
      if (tried < kTries) continue;
      refuse_path("look at", path, errno);
    }
    std::string contents(kMostBytes, '\0');
    const std::int64_t got = file.read(contents.data(), contents.size());
    if (got < 0) {
      if (errno == ESTALE && tried < kTries) continue;
      refuse_path("read", path, errno);
    }
    contents.resize(static_cast<std::size_t>(got));
    FoundLock found;
    found.touched = time->seconds;
    if (std::optional<LockHolder> holder = parse(contents)) {
      found.holder = *std::move(holder);
    } else {
      found.holder.host = "an unknown machine";
      found.holder.token = text("unreadable-", time->number);
    }
    return found;
  }
}

}  // namespace

LockHolder this_process() {
  LockHolder holder;
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  holder.host = host;
  holder.boot = line_of("/proc/sys/kernel/random/boot_id");
  holder.pid_namespace = link_at("/proc/self/ns/pid");
  holder.process = ::getpid();
  if (const std::optional<ProcessState> own = process_state("self")) {
    holder.process_start = own->start;
  }
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char started[64];
  std::strftime(started, sizeof started, "%Y-%m-%d %H:%M:%S UTC", &utc);
  holder.started = started;
  if (const char* const job = std::getenv("SLURM_JOB_ID")) holder.job = printable(job);
  holder.token = new_token();
  return holder;
}

std::string in_words(const LockHolder& holder) {
  return text(holder.process == 0 ? "a process that the lock file does not name"
                                  : text("process ", holder.process),
              " on ", holder.host, holder.started.empty() ? "" : ", started " + holder.started,
              holder.job.empty() ? "" : ", Slurm job " + holder.job);
}

std::optional<LockHolder> lock_holder_of(const std::string& folder) {
  const std::optional<FoundLock> found = read_lock(lock_path(folder));
  return found ? std::optional(found->holder) : std::nullopt;
}

RunLock::RunLock(std::string folder, LockHolder self)
    : folder_(std::move(folder)),
      path_(lock_path(folder_)),
      beside_(path_ + "." + self.token),
      self_(std::move(self)) {}

RunLock::~RunLock() {
  if (!taken_) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_ending_ = true;
  }
  ended_.notify_all();
  heart_.join();
  try {
    const std::optional<FoundLock> found = read_lock(path_);
    if (found && found->holder.token == self_.token) ::unlink(path_.c_str());
  } catch (const Error&) {
    // The folder is gone or cannot be reached; the next run finds this process dead.
  }
}

std::string RunLock::after(const LockHolder& holder) const {
  return text(path_, ".after-", holder.token);
}

void RunLock::write_beside() const {
  int error = 0;
  {
    const Descriptor file(beside_, O_WRONLY | O_CREAT | O_TRUNC);
    error = write_all(file, to_text(self_));
  }
  if (error == 0) return;
  ::unlink(beside_.c_str());
  refuse_path("write", beside_, error);
}

double RunLock::time_of_server() const {
  write_beside();
  ::utimensat(AT_FDCWD, beside_.c_str(), nullptr, 0);
  const std::optional<FoundLock> own = read_lock(beside_);
  ::unlink(beside_.c_str());
  return own ? own->touched : 0;
}

/// Makes the file with our name in it, if there is none; returns whether it is ours now.
bool RunLock::make_ours(const std::string& path) const {
  write_beside();
  int error = ::link(beside_.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(beside_.c_str());
  if (error == EPERM || error == EOPNOTSUPP || error == ENOSYS) {  // no hard links here
    const Descriptor file(path, O_WRONLY | O_CREAT | O_EXCL);
    error = write_all(file, to_text(self_));
  }
  if (error != 0 && error != EEXIST) refuse_path("write", path, error);
  // What is there tells, not what link() said: its answer may be lost on the way from a server, and
  // the repeated question finds that the name exists.
  const std::optional<FoundLock> found = read_lock(path);
  return found && found->holder.token == self_.token;
}

/// The files of the chain that begins with `end`, which becomes the last.
std::vector<std::string> RunLock::walk(FoundLock& end) const {
  std::vector<std::string> files;
  while (static_cast<int>(files.size()) < kMostRounds) {
    std::string next = after(end.holder);
    std::optional<FoundLock> found = read_lock(next);
    if (!found) break;
    files.push_back(std::move(next));
    end = *std::move(found);
  }
  return files;
}

bool RunLock::is_dead(const FoundLock& found) {
  const LockHolder& holder = found.holder;
  const Life life = ask_system(holder, self_);
  if (life == Life::dead) return true;
  const bool is_watched = watched_.holder.token == holder.token;
  if (life == Life::alive || (is_watched && found.touched != watched_.touched)) {
    throw Error(Cause::io, "the run folder ", folder_, " is in use by another run (",
                in_words(holder), "); wait until it has ended, end it, or give another --run_dir");
  }
  if (!is_watched) {
    watched_ = found;
    since_watched_.restart();
  }
  const double watched = since_watched_.seconds();
  if (watched >= holder.stale_seconds) return true;
  return watched >= 2 * holder.heartbeat_seconds &&
         time_of_server() - found.touched >= holder.stale_seconds;
}

bool RunLock::try_take() {
  for (int round = 0; round < kMostRounds && !taken_; ++round) {
    std::optional<FoundLock> found = read_lock(path_);
    if (!found) {
      if (make_ours(path_)) begin();
      continue;
    }
    std::vector<std::string> chain = walk(*found);
    if (!is_dead(*found)) return false;
    const std::string ours = after(found->holder);
    if (!make_ours(ours)) continue;
    // Had another one taken over before and tidied up, then run.lock is no longer what we read.
    std::optional<FoundLock> end = read_lock(path_);
    if (end) walk(*end);
    if (!end || end->holder.token != self_.token) {
      ::unlink(ours.c_str());
      continue;
    }
    write_beside();
    if (std::rename(beside_.c_str(), path_.c_str()) != 0) refuse_path("rename", path_, errno);
    chain.push_back(ours);
    for (const std::string& file : chain) ::unlink(file.c_str());
    begin();
  }
  if (!taken_) {
    throw Error(Cause::io, "cannot take ", path_, ": others took it ", kMostRounds,
                " times meanwhile; start again");
  }
  return true;
}

std::string RunLock::waits_for() const {
  return text(in_words(watched_.holder), "; if it gives no sign of life for ",
              in_time(watched_.holder.stale_seconds), ", this run goes on in its place");
}

void RunLock::begin() {
  taken_ = true;
  last_sign_ = seconds_after_boot();
  remove_leftovers();
  heart_ = std::thread([this] {
    sigset_t all;  // Signals are for the threads that know what to do with them.
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock<std::mutex> lock(mutex_);
    const auto interval = std::chrono::duration<double>(self_.heartbeat_seconds);
    while (!ended_.wait_for(lock, interval, [this] { return is_ending_; })) {
      try {
        refresh();
      } catch (const Error&) {
        // The file system does not answer; check() and the saves will say so if it lasts.
      }
    }
  });
}

/// Gives a sign of life, or finds that the lock is lost. The mutex is held.
void RunLock::refresh() {
  if (lost_to_) return;
  const double now = seconds_after_boot();
  const std::optional<FoundLock> found = read_lock(path_);
  if (found && found->holder.token != self_.token) {
    lost_to_ = found->holder;
  } else if (!found && now - last_sign_ >= self_.stale_seconds) {
    lost_to_ = LockHolder();  // Another run may have come and gone.
  } else if (found ? ::utimensat(AT_FDCWD, path_.c_str(), nullptr, 0) == 0 : make_ours(path_)) {
    last_sign_ = now;  // Where there was no file it was removed by hand, as no run may do so yet.
  }
}

void RunLock::check() {
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    refresh();
  } catch (const Error&) {
    return;  // What comes next finds the same, and says what it is for.
  }
  if (!lost_to_) return;
  const std::string who = lost_to_->token.empty() ? "that has ended since" : in_words(*lost_to_);
  throw Error(Cause::io, "the run folder ", folder_, " was taken over by another run (", who,
              "), as this one gave no sign of life for ", in_time(self_.stale_seconds),
              "; it ends here, so that one alone writes there");
}

/// Names that takers who died have left.
void RunLock::remove_leftovers() const {
  try {
    const std::optional<FoundLock> own = read_lock(path_);
    if (!own) return;
    const std::string beginning = path_ + ".";
    for (const std::string& file : list_folder(folder_)) {
      if (!file.starts_with(beginning)) continue;
      const std::optional<FoundLock> found = read_lock(file);
      if (found && own->touched - found->touched > kLongestStaleSeconds) ::unlink(file.c_str());
    }
  } catch (const Error&) {
    // They are in nobody's way.
  }
}

}  // namespace micrec
