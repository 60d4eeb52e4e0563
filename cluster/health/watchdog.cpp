#include "cluster/health/watchdog.h"

#include <glog/logging.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/health/verdict_link.h"

namespace micrec {

struct WatchdogLink::Letter {
  enum class What : int { board, hub, spoke };
  What what = What::board;
  int line = 0;
  std::uint64_t token = 0;
};

namespace {

constexpr long kTickNanoseconds = 50'000'000;
// Longer between two looks: all of this machine's processes were suspended, or it was very busy.
constexpr double kMostSecondsOfATick = 1;
// A rank that has failed announces it, waits for the root cause and asks the launcher to end all.
constexpr double kFailingSeconds = 7;
// When another rank has failed the launcher ends this one; if not, the watchdog does.
constexpr double kEndedByLauncherSeconds = 2.5;
constexpr double kPastDeadlineSeconds = 2;
// A launcher that kills a whole group of processes reaches this one too, and then nothing is said.
constexpr long kSameDeathNanoseconds = 100'000'000;

constexpr int kPassedOn[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

void nap(long nanoseconds) {
  const timespec time = {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  nanosleep(&time, nullptr);
}

std::string name_of_signal(int number) {
  const char* name = sigabbrev_np(number);
  return name == nullptr ? text("signal ", number) : text("signal ", number, " (SIG", name, ")");
}

std::string hint_for(int number) {
  switch (number) {
    case SIGKILL:
      return "; where nobody sent it, the system was out of memory: see dmesg, use more ranks, "
             "fewer columns (--dim) or a smaller --batch";
    case SIGABRT:
      return ", an internal error: see its message above";
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
      return ", an internal error, or a file that was cut short while it was read";
    case SIGXCPU:
      return ": the limit of processor time (ulimit -t)";
    default:
      return "";
  }
}

}  // namespace

class Watchdog {
 public:
  Watchdog(const WatchdogOptions& options, pid_t worker, int socket, const sigset_t& signals)
      : options_(options), worker_(worker), socket_(socket), signals_(signals) {}

  [[noreturn]] void watch() {
    while (true) {
      const timespec tick = {0, kTickNanoseconds};
      const int signal = sigtimedwait(&signals_, nullptr, &tick);
      if (signal > 0 && signal != SIGCHLD) kill(worker_, signal);
      // Before the board is looked for: what a rank showed last is not lost with it.
      receive_letters();
      int status = 0;
      const pid_t changed = waitpid(worker_, &status, WNOHANG | WUNTRACED | WCONTINUED);
      if (changed == worker_) {
        if (WIFEXITED(status)) std::_Exit(WEXITSTATUS(status));
        if (WIFSIGNALED(status)) end_after_signal(WTERMSIG(status));
        if (WIFSTOPPED(status)) stopped_ = true;
        if (WIFCONTINUED(status)) stopped_ = false;
      }
      if (board_ && link_) link_->exchange(*board_);
      if (board_) supervise();
    }
  }

 private:
  std::string this_rank() const { return text("rank ", options_.rank, " of ", options_.ranks); }

  void say(const std::string& message) const {
    const std::string line = text(options_.program, ": ", message, "\n");
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

  void receive_letters() {
    while (true) {
      WatchdogLink::Letter letter;
      iovec data = {&letter, sizeof letter};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t received = recvmsg(socket_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (received != static_cast<ssize_t>(sizeof letter)) return;
      const cmsghdr* header = CMSG_FIRSTHDR(&message);
      if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return;
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
      if (letter.what == WatchdogLink::Letter::What::board) {
        board_ = ProgressBoard::adopt(descriptor);
        line_ = letter.line;
      } else {
        const bool is_hub = letter.what == WatchdogLink::Letter::What::hub;
        link_ = std::make_unique<VerdictLink>(descriptor, is_hub, letter.token);
      }
    }
  }

  [[noreturn]] void end_after_signal(int signal) {
    nap(kSameDeathNanoseconds);
    const bool by_wish = signal == SIGINT || signal == SIGTERM || signal == SIGHUP ||
                         signal == SIGQUIT || signal == SIGUSR1 || signal == SIGUSR2;
    if (by_wish) die_of(signal);
    std::string message = text(this_rank(), " was killed by ", name_of_signal(signal));
    Verdict verdict{options_.rank, static_cast<int>(Cause::cluster), "", 0};
    if (board_) {
      const RankProgress progress = board_->read(line_);
      message += text(" ", progress.where());
    } else {
      message += " before it had joined the others";
    }
    message += hint_for(signal);
    verdict.message = message;
    if (board_ && !board_->give_verdict(verdict)) {
      if (const std::optional<Verdict> other = board_->verdict()) std::_Exit(other->exit_code);
    }
    say(message);
    if (board_ && link_) link_->exchange(*board_);
    std::_Exit(verdict.exit_code);
  }

  [[noreturn]] static void die_of(int signal) {
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    sigaction(signal, &by_default, nullptr);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &one, nullptr);
    std::_Exit(128 + signal);
  }

  [[noreturn]] void end_worker(int exit_code) {
    kill(worker_, SIGKILL);
    int status = 0;
    while (waitpid(worker_, &status, 0) < 0 && errno == EINTR) {
    }
    std::_Exit(exit_code);
  }

  void supervise() {
    const RankProgress progress = board_->read(line_);
    const double tick = std::min(tick_.seconds(), kMostSecondsOfATick);
    tick_.restart();
    // Counted in ticks and not read off a clock, which goes on while everything is suspended.
    const bool goes_on = progress.state != last_.state || progress.entered != last_.entered;
    unchanged_seconds_ = goes_on || stopped_ ? 0 : unchanged_seconds_ + tick;
    last_ = progress;

    if (const std::optional<Verdict> verdict = board_->verdict()) {
      verdict_seconds_ += tick;
      const bool is_own = verdict->rank == options_.rank;
      if (verdict_seconds_ > (is_own ? kFailingSeconds : kEndedByLauncherSeconds)) {
        end_worker(verdict->exit_code);
      }
      return;
    }
    using State = RankProgress::State;
    if (progress.state == State::failing && unchanged_seconds_ > kFailingSeconds) {
      end_worker(static_cast<int>(Cause::cluster));
    }
    if (progress.state == State::waiting &&
        unchanged_seconds_ > options_.deadline_seconds + kPastDeadlineSeconds) {
      const std::optional<Suspect> suspect = find_suspect(*board_, options_.ranks);
      const std::string own =
          text(this_rank(), " ", progress.describe(), " and does not end by itself");
      const Verdict verdict{options_.rank, static_cast<int>(Cause::cluster),
                            suspect ? suspect->sentence + "; " + own : own, 0};
      if (board_->give_verdict(verdict)) say(verdict.message);
      if (link_) link_->exchange(*board_);
      end_worker(verdict.exit_code);
    }
  }

  const WatchdogOptions& options_;
  const pid_t worker_;
  const int socket_;
  const sigset_t signals_;
  std::unique_ptr<ProgressBoard> board_;
  std::unique_ptr<VerdictLink> link_;
  int line_ = 0;
  bool stopped_ = false;
  Timer tick_;
  RankProgress last_;
  double unchanged_seconds_ = 0;
  double verdict_seconds_ = 0;
};

WatchdogLink::~WatchdogLink() { ::close(socket_); }

void WatchdogLink::show(const ProgressBoard& board) {
  send({Letter::What::board, board.own_line(), 0}, board.descriptor());
}

void WatchdogLink::connect(int socket, bool is_hub, std::uint64_t token) {
  send({is_hub ? Letter::What::hub : Letter::What::spoke, 0, token}, socket);
  ::close(socket);
}

void WatchdogLink::send(const Letter& letter, int descriptor) {
  Letter copy = letter;
  iovec data = {&copy, sizeof copy};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  PCHECK(sendmsg(socket_, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof copy));
}

std::unique_ptr<WatchdogLink> fork_under_watchdog(const WatchdogOptions& options) {
  const pid_t launcher = getppid();
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);  // what is in a buffer at the fork would be written twice
  int sockets[2];
  PCHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
  sigset_t signals;
  sigset_t before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  for (const int signal : kPassedOn) sigaddset(&signals, signal);
  PCHECK(sigprocmask(SIG_BLOCK, &signals, &before) == 0);
  const pid_t watchdog = getpid();
  const pid_t worker = fork();
  if (worker < 0) {
    throw Error(Cause::cluster, "cannot start a process beside this one: ", std::strerror(errno),
                "; raise the limit (ulimit -u)");
  }
  if (worker == 0) {
    ::close(sockets[0]);
    // The launcher kills only the process it knows.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != watchdog) std::_Exit(static_cast<int>(Cause::cluster));
    PCHECK(sigprocmask(SIG_SETMASK, &before, nullptr) == 0);
    return std::make_unique<WatchdogLink>(sockets[1], launcher);
  }
  ::close(sockets[1]);
  prctl(PR_SET_NAME, "micrec-watchdog");
  Watchdog(options, worker, sockets[0], signals).watch();
}

}  // namespace micrec
