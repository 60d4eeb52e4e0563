#include "cluster/health/nccl_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/text.h"

namespace micrec {
namespace {

constexpr std::chrono::microseconds kTick{2000};
constexpr int kTicksPerQuestion = 8;        // to NCCL and the other ranks
constexpr double kShownAfterSeconds = 0.1;  // of waiting
// Longer between two looks: the process was stopped, as a batch system does.
constexpr double kMostTickSeconds = 1;

}  // namespace

void NcclFailure::set(const std::string& where, const std::exception_ptr& untold) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_set_) return;
  where_ = where;
  untold_ = untold;
  is_set_ = true;
}

std::string NcclFailure::tell() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (untold_) std::rethrow_exception(std::exchange(untold_, nullptr));
  return where_;
}

NcclWatch::NcclWatch(NcclLink& link, HostCommunicator& host, double deadline_seconds,
                     NcclFailure& failure)
    : link_(link),
      host_(host),
      deadline_seconds_(deadline_seconds),
      failure_(failure),
      thread_([this] { run(); }) {}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops_ = true;
  }
  changed_.notify_all();
  thread_.join();
  // What a rank waited in when it failed stays visible.
  if (!failure_.is_set()) host_.hide_waiting_beside();
}

void NcclWatch::add(const UnderWay& collective) {
  const std::lock_guard<std::mutex> lock(mutex_);
  under_way_.push_back({collective, Timer()});
  if (under_way_.size() == 1) changed_.notify_all();
}

void NcclWatch::await(std::uint64_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Entry& entry : under_way_) {
    if (entry.collective.number == number) entry.collective.is_awaited = true;
  }
}

void NcclWatch::drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return under_way_.empty(); });
}

void NcclWatch::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  bool is_prepared = false;
  double waited_seconds = 0;  // for the oldest, since it was that and one was awaited
  Timer tick;
  for (int looks = 1;; ++looks) {
    if (under_way_.empty()) {
      changed_.wait(lock, [&] { return stops_ || !under_way_.empty(); });
      waited_seconds = 0;
      tick.restart();
    }
    if (stops_) return;
    const Entry oldest = under_way_.front();
    // The stream is one queue, so what is awaited waits for all before it too.
    const bool waits = std::ranges::any_of(
        under_way_, [](const Entry& entry) { return entry.collective.is_awaited; });
    if (waits) waited_seconds += std::min(tick.seconds(), kMostTickSeconds);
    tick.restart();
    lock.unlock();
    bool has_passed = false;
    try {
      if (!is_prepared) link_.use_in_this_thread();
      is_prepared = true;
      if (!failure_.is_set()) has_passed = oldest.collective.mark->has_passed();
      if (!has_passed) look(oldest.collective, looks, waited_seconds);
    } catch (...) {
      failure_.set(host_.place(oldest.collective.name, oldest.collective.number),
                   std::current_exception());
    }
    if (failure_.is_set()) {
      link_.abort();
    } else if (has_passed) {
      if (waited_seconds > kShownAfterSeconds) host_.hide_waiting_beside();
      const double hidden = oldest.since_given.seconds();
      host_.ledger().record(oldest.collective.name, {.hidden_seconds = hidden});
    }
    lock.lock();
    if (failure_.is_set()) {
      under_way_.clear();
      changed_.notify_all();
    } else if (has_passed) {
      under_way_.pop_front();
      waited_seconds = 0;
      if (under_way_.empty()) changed_.notify_all();
      continue;  // the next may be over too
    }
    changed_.wait_for(lock, kTick, [&] { return stops_; });
  }
}

void NcclWatch::look(const UnderWay& oldest, int looks, double waited_seconds) {
  if (waited_seconds > kShownAfterSeconds) {
    host_.show_waiting_beside(oldest.name, oldest.number, oldest.begun);
  }
  const bool is_late = waited_seconds > deadline_seconds_;
  if (failure_.is_set() || (looks % kTicksPerQuestion != 0 && !is_late)) return;
  const std::string place = host_.place(oldest.name, oldest.number);
  // First: a failure of NCCL's may be but the echo of another rank's, which says more.
  if (const std::exception_ptr heard = host_.heard_beside(place)) std::rethrow_exception(heard);
  if (const NcclLink::Progress progress = link_.progress();
      progress.state == NcclLink::State::failed) {
    throw Error(Cause::cluster, host_.this_rank(), " heard of a failure of NCCL in ", place, ": ",
                progress.failure);
  }
  if (!is_late) return;
  const std::string behind = host_.behind_in(oldest.number);
  throw DeadlinePassed(text(host_.this_rank(), " waited ", deadline_seconds_, " s in ", place,
                            " for ", behind.empty() ? "NCCL to move the data" : behind,
                            "; NCCL_DEBUG=INFO says what NCCL does on each rank"));
}

}  // namespace micrec
