#include "launcher/run_folder.h"

#include <ATen/ops/full.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "cluster/agreement.h"
#include "io/durable_files.h"
#include "launcher/injected_faults.h"

namespace micrec {
namespace {

constexpr auto kBetweenTries = std::chrono::milliseconds(200);

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
