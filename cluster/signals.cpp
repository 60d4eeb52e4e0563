#include "cluster/signals.h"

#include <glog/logging.h>
#include <time.h>

#include <atomic>
#include <cstdint>

namespace micrec {
namespace {

constexpr std::int64_t kSameWishMilliseconds = 1000;

// A handler can reach nothing but globals. 0: no signal yet; else when the first came.
std::atomic<std::int64_t> g_first_signal_milliseconds{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

std::int64_t now_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
}

extern "C" void on_stop_signal(int number) {
  const std::int64_t now = now_milliseconds();
  std::int64_t first = 0;
  if (g_first_signal_milliseconds.compare_exchange_strong(first, now)) return;
  if (now - first < kSameWishMilliseconds) return;
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(number, &by_default, nullptr);
  raise(number);  // delivered when this handler returns
}

}  // namespace

StopSignals::StopSignals() {
  g_first_signal_milliseconds = 0;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;  // a signal must not make reads and writes fail
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    PCHECK(sigaction(kSignals[i], &action, &before_[i]) == 0);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &before_[i], nullptr);
  }
}

bool stop_signal_received() { return g_first_signal_milliseconds != 0; }

bool agree_to_stop(Communicator& communicator, const char* name) {
  return on_any_rank(communicator, name, stop_signal_received());
}

}  // namespace micrec
