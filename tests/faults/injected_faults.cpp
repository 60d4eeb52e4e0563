// What tests of whole programs do to a run by its environment: in micrec_with_faults alone.

#include "run/injected_faults.h"

#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/store.h"
#include "tests/support/save_steps.h"

namespace micrec {

namespace {

/// VARIABLE=STEP[:TIMES][@RANK], as in shard_synced:3@1: a signal when rank 1 reaches that instant
/// for the third time; the first time and all ranks by default. Empty where it is not set.
/// Errors   Error(usage) where it is written otherwise.
std::function<void(SaveStep)> signal_from(const char* variable, int signal, int rank) {
  const char* const set = std::getenv(variable);
  if (set == nullptr || *set == '\0') return nullptr;
  const std::vector<std::string> at = split(set, '@');
  const std::vector<std::string> words = split(at.empty() ? "" : at[0], ':');
  const std::optional<SaveStep> step = parse_save_step(words.empty() ? "" : words[0]);
  const std::optional<std::int64_t> times =
      words.size() > 1 ? parse_integer(words[1]) : std::optional<std::int64_t>(1);
  const std::optional<std::int64_t> only =
      at.size() > 1 ? parse_integer(at[1]) : std::optional<std::int64_t>(rank);
  if (!step || !times || *times < 1 || !only || words.size() > 2 || at.size() > 2) {
    throw Error(Cause::usage, text(variable, " is '", set,
                                   "', expected STEP[:TIMES][@RANK] as in shard_synced:3@1"));
  }
  if (*only != rank) return nullptr;
  const auto left = std::make_shared<std::int64_t>(*times);
  return [step = *step, signal, left](SaveStep reached) {
    if (reached == step && --*left == 0) std::raise(signal);
  };
}

}  // namespace

/// MICREC_TEST_DIE_AT: as `kill -9` does; MICREC_TEST_STOP_AT: as a SIGUSR1 from outside does.
std::function<void(SaveStep)> signals_from_environment(int rank) {
  const auto death = signal_from("MICREC_TEST_DIE_AT", SIGKILL, rank);
  const auto stop = signal_from("MICREC_TEST_STOP_AT", SIGUSR1, rank);
  if (!death && !stop) return nullptr;
  return [death, stop](SaveStep reached) {
    if (death) death(reached);
    if (stop) stop(reached);
  };
}

/// MICREC_TEST_LOCK_SECONDS=HEARTBEAT:STALE, as in 0.2:2: the times of the lock.
/// Errors   Error(usage) where it is written otherwise.
LockHolder holder_of_this_run() {
  LockHolder holder = this_process();
  const char* const set = std::getenv("MICREC_TEST_LOCK_SECONDS");
  if (set == nullptr || *set == '\0') return holder;
  const std::vector<std::string> words = split(set, ':');
  const std::optional<double> heartbeat = parse_real(words.front());
  const std::optional<double> stale = words.size() == 2 ? parse_real(words[1]) : std::nullopt;
  if (!heartbeat || !stale || *heartbeat <= 0 || *stale <= *heartbeat) {
    throw Error(Cause::usage, text("MICREC_TEST_LOCK_SECONDS is '", set,
                                   "', expected HEARTBEAT:STALE as in 0.2:2"));
  }
  holder.heartbeat_seconds = *heartbeat;
  holder.stale_seconds = *stale;
  return holder;
}

}  // namespace micrec
