#include "launcher/run_folder.h"

#include <ATen/ops/full.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"

namespace micrec {
namespace {

constexpr auto kBetweenTries = std::chrono::milliseconds(200);

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

}  // namespace

HeldFolder hold_run_folder(const std::string& run_dir, Job& job) {
  Communicator& communicator = job.communicator();
  HeldFolder held;
  bool is_told = false;
  while (true) {
    bool taken = true;
    throw_together(communicator, "run_folder.lock", attempt([&] {
                     if (job.rank() != 0) return;
                     if (!held.lock) {
                       make_directory_durably(run_dir);
                       held.lock = std::make_unique<RunLock>(run_dir, holder_of_this_run());
                     }
                     taken = held.lock->try_take();
                   }));
    // The others wait in here, for a moment each time: the deadline of a collective is not theirs.
    at::Tensor all = at::full({1}, std::int64_t{taken}, at::kLong);
    communicator.all_reduce("run_folder.taken", all, Reduction::min);
    if (all.item<std::int64_t>() != 0) return held;
    if (!std::exchange(is_told, true) && held.lock) {
      job.log_once() << "waiting   for " << run_dir
                     << ", which another run has: " << held.lock->waits_for() << "\n"
                     << std::flush;
    }
    if (job.agree_to_stop("run_folder.stop")) {
      held.stopped = true;
      return held;
    }
    std::this_thread::sleep_for(kBetweenTries);
  }
}

}  // namespace micrec
