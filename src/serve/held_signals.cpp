#include "serve/held_signals.h"

#include <cerrno>
#include <ctime>
#include <initializer_list>

namespace micrec {
namespace {

constexpr int kWake = SIGUSR1;

}  // namespace

HeldSignals::HeldSignals() : asker_(pthread_self()) {
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, kWake}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
}

HeldSignals::~HeldSignals() {
  while (next_within(0) > 0) continue;
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void HeldSignals::wake() const { pthread_kill(asker_, kWake); }

int HeldSignals::next() const {
  const int signal = next_within(1);
  return signal == kWake || signal < 0 ? 0 : signal;
}

int HeldSignals::next_within(long seconds) const {
  const timespec wait = {seconds, 0};
  int signal = 0;
  do {
    signal = sigtimedwait(&signals_, nullptr, &wait);
  } while (signal < 0 && errno == EINTR);  // by a signal that is not held
  return signal;
}

}  // namespace micrec
