#include "cluster/thread_communicator.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/text.h"

namespace micrec {

// Which ranks have failed or ended; one lock for all groups of a run, so that a failure anywhere
// wakes whoever waits.
class ThreadCommunicator::Run {
 public:
  Run(int ranks, double deadline_seconds)
      : deadline_seconds_(deadline_seconds), ranks_(static_cast<std::size_t>(ranks)) {}

  void fail(int rank, const std::string& why) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_rank_ >= 0) return;
    failed_rank_ = rank;
    why_ = why;
    changed_.notify_all();
  }

  void leave(int rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ranks_[rank].left = true;
    changed_.notify_all();
  }

  void listen(const std::string& this_rank, const std::string& where) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_rank_ >= 0) throw_peer_failure(this_rank, where);
  }

  // The group of this key; the first of its ranks to ask makes it.
  std::shared_ptr<Group> group(const std::shared_ptr<Run>& self, const Membership& membership);

 private:
  friend class Group;

  struct Rank {
    bool left = false;
    std::string last_place;  // the collective it entered last, in whatever group
  };

  [[noreturn]] void throw_peer_failure(const std::string& this_rank,
                                       const std::string& where) const {
    throw PeerFailure(failed_rank_, text(this_rank, " gave up in ", where, " because rank ",
                                         failed_rank_, " failed: ", why_));
  }

  const double deadline_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Rank> ranks_;
  std::map<std::uint64_t, std::weak_ptr<Group>> groups_;
  int failed_rank_ = -1;
  std::string why_;
};

// An exchange has three steps: every rank posts its buffers; when all have, each copies what it
// receives; when all have copied, each goes on. A rank waits before its first copy, never during
// one, so a failure elsewhere cannot free a buffer that is being read.
class ThreadCommunicator::Group {
 public:
  Group(std::shared_ptr<Run> run, std::vector<int> ranks_in_run)
      : run_(std::move(run)), slots_(ranks_in_run.size()) {
    for (std::size_t q = 0; q < slots_.size(); ++q) slots_[q].rank_in_run = ranks_in_run[q];
  }

  void exchange(int rank, const Exchange& exchange, const std::string& this_rank) {
    std::unique_lock<std::mutex> lock(run_->mutex_);
    Slot& own = slots_[rank];
    own.exchange = exchange;
    ++own.posted;
    run_->ranks_[own.rank_in_run].last_place = place(exchange);
    run_->changed_.notify_all();
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
    run_->changed_.notify_all();
    run_->changed_.wait(lock, [&] {
      return std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
        return slot.copied >= own.posted || (run_->failed_rank_ >= 0 && !slot.copying);
      });
    });
    for (const Slot& slot : slots_) {
      if (slot.copied < own.posted) run_->throw_peer_failure(this_rank, place(exchange));
    }
  }

 private:
  struct Slot {
    int rank_in_run = 0;
    Exchange exchange;         // the one posted last; its buffers live while the rank is in it
    std::uint64_t posted = 0;  // exchanges
    std::uint64_t copied = 0;  // exchanges
    bool copying = false;
  };

  static std::string place_of(const Slot& slot) { return place(slot.exchange); }

  void wait_for_posts(std::unique_lock<std::mutex>& lock, int rank, const std::string& this_rank) {
    const Slot& own = slots_[rank];
    const auto posted = [&](const Slot& slot) { return slot.posted >= own.posted; };
    const auto left = [&](const Slot& slot) { return run_->ranks_[slot.rank_in_run].left; };
    const auto lost = [&](const Slot& slot) { return left(slot) && !posted(slot); };
    const bool in_time =
        run_->changed_.wait_for(lock, std::chrono::duration<double>(run_->deadline_seconds_), [&] {
          return run_->failed_rank_ >= 0 || std::any_of(slots_.begin(), slots_.end(), lost) ||
                 std::all_of(slots_.begin(), slots_.end(), posted);
        });
    if (run_->failed_rank_ >= 0) {
      // Another rank may have begun to copy from this one before the failure was known.
      run_->changed_.wait(lock, [&] {
        return std::none_of(slots_.begin(), slots_.end(),
                            [](const Slot& slot) { return slot.copying; });
      });
      run_->throw_peer_failure(this_rank, place_of(own));
    }
    if (std::all_of(slots_.begin(), slots_.end(), posted)) return;

    std::vector<std::string> missing;
    for (const Slot& slot : slots_) {
      if (posted(slot)) continue;
      const std::string& last = run_->ranks_[slot.rank_in_run].last_place;
      missing.push_back(text("rank ", slot.rank_in_run,
                             left(slot) ? ", which has ended after " : ", last seen in ",
                             last.empty() ? "no collective" : last));
    }
    throw Error(
        Cause::cluster,
        text(this_rank, in_time ? " waits in vain in " : " waited ", in_time ? "" : in_time_limit(),
             place_of(own), " for ", join(missing, "; "),
             in_time ? "" : "; a longer deadline helps only if the rank is slow, not stuck"));
  }

  std::string in_time_limit() const { return text(run_->deadline_seconds_, " s in "); }

  // The first disagreement in rank order, the same on every rank; empty if there is none.
  std::string find_mismatch() const {
    for (std::size_t p = 0; p < slots_.size(); ++p) {
      for (std::size_t q = 0; q < slots_.size(); ++q) {
        const Exchange& from = slots_[p].exchange;
        const Exchange& to = slots_[q].exchange;
        if (from.of_check != to.of_check ||
            (!from.of_check &&
             (from.number != to.number || std::strcmp(from.name, to.name) != 0))) {
          return text("rank ", slots_[p].rank_in_run, " is in ", place_of(slots_[p]),
                      " while rank ", slots_[q].rank_in_run, " is in ", place_of(slots_[q]));
        }
        if (from.send_bytes[q] != to.receive_bytes[p]) {
          return text("in ", place_of(slots_[p]), " rank ", slots_[p].rank_in_run, " sends ",
                      from.send_bytes[q], " bytes to rank ", slots_[q].rank_in_run,
                      ", which expects ", to.receive_bytes[p]);
        }
      }
    }
    return "";
  }

  const std::shared_ptr<Run> run_;
  std::vector<Slot> slots_;
};

std::shared_ptr<ThreadCommunicator::Group> ThreadCommunicator::Run::group(
    const std::shared_ptr<Run>& self, const Membership& membership) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::weak_ptr<Group>& known = groups_[membership.key];
  std::shared_ptr<Group> group = known.lock();
  if (!group) {
    group = std::make_shared<Group>(self, membership.ranks_in_run);
    known = group;
  }
  return group;
}

ThreadCommunicator::ThreadCommunicator(std::shared_ptr<Run> run, Membership membership,
                                       const CommunicatorOptions& options)
    : HostCommunicator(std::move(membership), options),
      run_(std::move(run)),
      group_(run_->group(run_, this->membership())) {}

std::unique_ptr<Communicator> ThreadCommunicator::make_subgroup(Membership membership) {
  return std::make_unique<ThreadCommunicator>(run_, std::move(membership), options());
}

void ThreadCommunicator::abort(const std::string& why) noexcept {
  run_->fail(rank_in_run(rank()), why);
}

void ThreadCommunicator::exchange(const Exchange& exchange) {
  group_->exchange(rank(), exchange, this_rank());
}

void ThreadCommunicator::listen(const std::string& where) { run_->listen(this_rank(), where); }

void run_ranks(int ranks, const std::function<void(Communicator&)>& body,
               const CommunicatorOptions& options) {
  CHECK_GE(ranks, 1);
  const auto run = std::make_shared<ThreadCommunicator::Run>(ranks, options.deadline_seconds);
  std::mutex mutex;
  std::exception_ptr cause;        // what the first rank to fail threw
  std::exception_ptr consequence;  // only if no rank failed by itself but one called abort()
  const auto fail = [&](std::exception_ptr& kept, int rank, const std::string& why) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!kept) kept = std::current_exception();
    }
    run->fail(rank, why);
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator communicator(run, Membership::whole_run(rank, ranks), options);
        body(communicator);
        run->leave(rank);
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
