#pragma once

#include <pthread.h>
#include <signal.h>

namespace micrec {

/// SIGTERM, SIGINT and SIGHUP, kept back until a server asks for them. Made before other threads,
/// which keep them back too; the thread that made it asks. What came and was not asked for is
/// forgotten at the end: who is told twice to end has not failed.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  /// Has next() return at once. By any thread.
  void wake() const;
  /// The next, the smallest number first; 0 where none came within a second, or somebody woke it.
  int next() const;

 private:
  int next_within(long seconds) const;

  pthread_t asker_;
  sigset_t signals_{};
  sigset_t before_{};
};

}  // namespace micrec
