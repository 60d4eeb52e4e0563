#include "cluster/thread_communicator.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/text.h"

namespace micrec {

// An exchange has three steps: every rank posts its buffers; when all have, each copies what it
// receives; when all have copied, each goes on. A rank waits before its first copy, never during
// one, so a failure elsewhere cannot free a buffer that is being read.
class ThreadCommunicator::Group {
 public:
  Group(int ranks, double deadline_seconds)
      : deadline_seconds_(deadline_seconds), slots_(static_cast<std::size_t>(ranks)) {}

  void exchange(int rank, const Exchange& exchange, const std::string& this_rank) {
    std::unique_lock<std::mutex> lock(mutex_);
    Slot& own = slots_[rank];
    own.exchange = exchange;
    ++own.posted;
    changed_.notify_all();
    wait_for_posts(lock, rank, this_rank);
    const std::string mismatch = find_mismatch();
    if (!mismatch.empty()) {
      throw Error(Cause::cluster, text("the ranks disagree: ", mismatch));
    }
    own.copying = true;
    lock.unlock();
    for (std::size_t q = 0; q < slots_.size(); ++q) {
      const std::int64_t bytes = exchange.receive_bytes[q];
      if (bytes > 0) {
        std::memcpy(exchange.receive[q], slots_[q].exchange.send[rank],
                    static_cast<std::size_t>(bytes));
      }
    }
    lock.lock();
    own.copying = false;
    own.copied = own.posted;
    changed_.notify_all();
    changed_.wait(lock, [&] {
      return std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
        return slot.copied >= own.posted || (failed_rank_ >= 0 && !slot.copying);
      });
    });
    for (const Slot& slot : slots_) {
      if (slot.copied < own.posted) throw_peer_failure(rank, this_rank);
    }
  }

  void fail(int rank, const std::string& why) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_rank_ >= 0) return;
    failed_rank_ = rank;
    why_ = why;
    changed_.notify_all();
  }

  void leave(int rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    slots_[rank].left = true;
    changed_.notify_all();
  }

 private:
  struct Slot {
    Exchange exchange;         // the one posted last; its buffers live while the rank is in it
    std::uint64_t posted = 0;  // exchanges
    std::uint64_t copied = 0;  // exchanges
    bool copying = false;
    bool left = false;
  };

  static std::string place_of(const Slot& slot) {
    return place(slot.exchange.name, slot.exchange.number);
  }

  void wait_for_posts(std::unique_lock<std::mutex>& lock, int rank, const std::string& this_rank) {
    const Slot& own = slots_[rank];
    const auto posted = [&](const Slot& slot) { return slot.posted >= own.posted; };
    const auto lost = [&](const Slot& slot) { return slot.left && !posted(slot); };
    const bool in_time =
        changed_.wait_for(lock, std::chrono::duration<double>(deadline_seconds_), [&] {
          return failed_rank_ >= 0 || std::any_of(slots_.begin(), slots_.end(), lost) ||
                 std::all_of(slots_.begin(), slots_.end(), posted);
        });
    if (failed_rank_ >= 0) {
      // Another rank may have begun to copy from this one before the failure was known.
      changed_.wait(lock, [&] {
        return std::none_of(slots_.begin(), slots_.end(),
                            [](const Slot& slot) { return slot.copying; });
      });
      throw_peer_failure(rank, this_rank);
    }
    if (std::all_of(slots_.begin(), slots_.end(), posted)) return;

    std::vector<std::string> missing;
    for (std::size_t q = 0; q < slots_.size(); ++q) {
      const Slot& slot = slots_[q];
      if (posted(slot)) continue;
      missing.push_back(text("rank ", q, slot.left ? ", which has ended after " : ", last seen in ",
                             slot.posted == 0 ? "no collective" : place_of(slot)));
    }
    throw Error(
        Cause::cluster,
        text(this_rank, in_time ? " waits in vain in " : " waited ", in_time ? "" : in_time_limit(),
             place_of(own), " for ", join(missing, "; "),
             in_time ? "" : "; a longer deadline helps only if the rank is slow, not stuck"));
  }

  std::string in_time_limit() const { return text(deadline_seconds_, " s in "); }

  // The first disagreement in rank order, the same on every rank; empty if there is none.
  std::string find_mismatch() const {
    for (std::size_t p = 0; p < slots_.size(); ++p) {
      for (std::size_t q = 0; q < slots_.size(); ++q) {
        const Exchange& from = slots_[p].exchange;
        const Exchange& to = slots_[q].exchange;
        if (from.of_check != to.of_check ||
            (!from.of_check &&
             (from.number != to.number || std::strcmp(from.name, to.name) != 0))) {
          return text("rank ", p, " is in ", place_of(slots_[p]), " while rank ", q, " is in ",
                      place_of(slots_[q]));
        }
        if (from.send_bytes[q] != to.receive_bytes[p]) {
          return text("in ", place_of(slots_[p]), " rank ", p, " sends ", from.send_bytes[q],
                      " bytes to rank ", q, ", which expects ", to.receive_bytes[p]);
        }
      }
    }
    return "";
  }

  [[noreturn]] void throw_peer_failure(int rank, const std::string& this_rank) const {
    throw PeerFailure(failed_rank_, text(this_rank, " gave up in ", place_of(slots_[rank]),
                                         " because rank ", failed_rank_, " failed: ", why_));
  }

  const double deadline_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  int failed_rank_ = -1;
  std::string why_;
};

ThreadCommunicator::ThreadCommunicator(std::shared_ptr<Group> group, int rank, int size,
                                       const CommunicatorOptions& options)
    : HostCommunicator(rank, size, options), group_(std::move(group)) {}

void ThreadCommunicator::abort(const std::string& why) noexcept { group_->fail(rank(), why); }

void ThreadCommunicator::exchange(const Exchange& exchange) {
  group_->exchange(rank(), exchange, this_rank());
}

void run_ranks(int ranks, const std::function<void(Communicator&)>& body,
               const CommunicatorOptions& options) {
  CHECK_GE(ranks, 1);
  const auto group = std::make_shared<ThreadCommunicator::Group>(ranks, options.deadline_seconds);
  std::mutex mutex;
  std::exception_ptr cause;        // what the first rank to fail threw
  std::exception_ptr consequence;  // only if no rank failed by itself but one called abort()
  const auto fail = [&](std::exception_ptr& kept, int rank, const std::string& why) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!kept) kept = std::current_exception();
    }
    group->fail(rank, why);
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator communicator(group, rank, ranks, options);
        body(communicator);
        group->leave(rank);
      } catch (const PeerFailure& failure) {
        fail(consequence, rank, failure.what());
      } catch (const std::exception& exception) {
        fail(cause, rank, exception.what());
      } catch (...) {
        fail(cause, rank, "an exception that is not a std::exception");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (cause) std::rethrow_exception(cause);
  if (consequence) std::rethrow_exception(consequence);
}

}  // namespace micrec
