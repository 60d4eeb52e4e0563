#include "cluster/signals.h"

#include <glog/logging.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <utility>

#include "base/text.h"

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

const std::vector<int>& StopSignals::usual() {
  static const std::vector<int> signals = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
  return signals;
}

StopSignals::StopSignals(const std::vector<int>& signals) {
  g_first_signal_milliseconds = 0;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;  // a signal must not make reads and writes fail
  sigemptyset(&action.sa_mask);
  for (const int signal : signals) {
    before_.push_back({signal, {}});
    PCHECK(sigaction(signal, &action, &before_.back().action) == 0);
  }
}

StopSignals::~StopSignals() {
  for (auto one = before_.rbegin(); one != before_.rend(); ++one) {
    sigaction(one->signal, &one->action, nullptr);
  }
}

std::optional<std::vector<int>> parse_signals(const std::string& names) {
  static constexpr std::pair<const char*, int> kSignals[] = {
      {"TERM", SIGTERM}, {"INT", SIGINT},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"HUP", SIGHUP},
      {"QUIT", SIGQUIT}, {"ALRM", SIGALRM}, {"XCPU", SIGXCPU}, {"PWR", SIGPWR},
  };
  std::vector<int> numbers;
  for (const std::string& name : split(names, ',')) {
    const auto* const found = std::find_if(
        std::begin(kSignals), std::end(kSignals),
        [&](auto& one) { return name == one.first || name == text("SIG", one.first); });
    if (found == std::end(kSignals)) return std::nullopt;
    if (std::ranges::find(numbers, found->second) == numbers.end()) {
      numbers.push_back(found->second);
    }
  }
  return numbers;
}

bool stop_signal_received() { return g_first_signal_milliseconds != 0; }

}  // namespace micrec
