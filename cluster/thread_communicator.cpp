#include "cluster/thread_communicator.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/parallel.h"
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

  void listen(const std::string& this_rank, const std::function<std::string()>& where) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_rank_ >= 0) throw PeerFailure(this_rank, where(), failed_rank_, why_);
  }

  std::exception_ptr heard(const std::string& this_rank, const std::string& where) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_rank_ < 0) return nullptr;
    return std::make_exception_ptr(PeerFailure(this_rank, where, failed_rank_, why_));
  }

  // The group of this key; the first of its ranks to ask makes it.
  std::shared_ptr<Group> group(const std::shared_ptr<Run>& self, const Membership& membership);

 private:
  friend class Group;

  struct Rank {
    bool left = false;
    std::string last_place;  // the collective it entered last, in whatever group
  };

  const double deadline_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Rank> ranks_;
  std::map<std::uint64_t, std::weak_ptr<Group>> groups_;
  int failed_rank_ = -1;
  std::string why_;
};

// A round of messages has three steps: every rank posts its own; when all have, each copies what it
// receives; when all have copied, each goes on. A rank waits before its first copy, never during
// one, and a round keeps the buffers posted to it, so a failure elsewhere cannot free one that is
// being read.
class ThreadCommunicator::Group {
 public:
  Group(std::shared_ptr<Run> run, std::vector<int> ranks_in_run)
      : run_(std::move(run)),
        ranks_in_run_(std::move(ranks_in_run)),
        posted_(ranks_in_run_.size()),
        begun_(ranks_in_run_.size()) {}

  // Of collectives beside this communicator.
  void note_begun(int rank, std::uint64_t number, const std::string& place) {
    const std::lock_guard<std::mutex> lock(run_->mutex_);
    begun_[rank] = number;
    run_->ranks_[ranks_in_run_[rank]].last_place = place;
  }
  std::string behind_in(std::uint64_t number) const {
    const std::lock_guard<std::mutex> lock(run_->mutex_);
    std::vector<std::string> behind;
    for (std::size_t q = 0; q < begun_.size(); ++q) {
      if (begun_[q] < number) behind.push_back(last_seen(q));
    }
    return join(behind, "; ");
  }

  // Returns the number of the round: every rank posts them in one order.
  std::uint64_t post(int rank, const Messages& messages) {
    const std::lock_guard<std::mutex> lock(run_->mutex_);
    const std::uint64_t number = posted_[rank]++;
    Round& round = rounds_[number];
    round.slots.resize(ranks_in_run_.size());
    round.slots[rank].messages = messages;
    round.slots[rank].posted = true;
    if (++round.posts == round.slots.size()) round.complete_at = Transfer::Clock::now();
    run_->ranks_[ranks_in_run_[rank]].last_place = place(messages);
    run_->changed_.notify_all();
    return number;
  }

  // When the last rank posted, if all have.
  std::optional<Transfer::Clock::time_point> complete_at(std::uint64_t number) const {
    const std::lock_guard<std::mutex> lock(run_->mutex_);
    const Round& round = rounds_.at(number);
    if (round.posts < round.slots.size()) return std::nullopt;
    return round.complete_at;
  }

  // Returns when the last rank posted.
  Transfer::Clock::time_point finish(int rank, std::uint64_t number, const std::string& this_rank) {
    std::unique_lock<std::mutex> lock(run_->mutex_);
    Round& round = rounds_.at(number);  // others add and erase rounds, but not this one
    Slot& own = round.slots[rank];
    wait_for_all(lock, round, rank, this_rank, &Slot::posted);
    const std::string mismatch = find_mismatch(round);
    if (!mismatch.empty()) {
      throw Error(Cause::cluster, "the ranks disagree: ", mismatch);
    }
    own.copying = true;
    lock.unlock();
    for (std::size_t q = 0; q < round.slots.size(); ++q) {
      const std::int64_t bytes = own.messages.receive_bytes[q];
      if (bytes > 0) {
        std::memcpy(own.messages.receive[q], round.slots[q].messages.send[rank],
                    static_cast<std::size_t>(bytes));
      }
    }
    lock.lock();
    own.copying = false;
    own.copied = true;
    run_->changed_.notify_all();
    wait_for_all(lock, round, rank, this_rank, &Slot::copied);
    const Transfer::Clock::time_point complete_at = round.complete_at;
    if (++round.finished == round.slots.size()) rounds_.erase(number);
    return complete_at;
  }

 private:
  struct Slot {
    Messages messages;
    bool posted = false;
    bool copying = false;
    bool copied = false;
  };

  // From its first post to its last finish.
  struct Round {
    std::vector<Slot> slots;  // (ranks)
    std::size_t posts = 0;
    std::size_t finished = 0;
    Transfer::Clock::time_point complete_at;
  };

  // Waits until all ranks have `done` in a round: posted or copied.
  void wait_for_all(std::unique_lock<std::mutex>& lock, const Round& round, int rank,
                    const std::string& this_rank, bool Slot::*done) {
    const std::vector<Slot>& slots = round.slots;
    const Messages& own = slots[rank].messages;
    const auto left = [&](std::size_t q) { return run_->ranks_[ranks_in_run_[q]].left; };
    const auto all_done = [&] {
      return std::ranges::all_of(slots, [&](const Slot& slot) { return slot.*done; });
    };
    const auto any_lost = [&] {
      for (std::size_t q = 0; q < slots.size(); ++q) {
        if (left(q) && !(slots[q].*done)) return true;
      }
      return false;
    };
    const bool in_time = run_->changed_.wait_for(
        lock, std::chrono::duration<double>(run_->deadline_seconds_),
        [&] { return run_->failed_rank_ >= 0 || any_lost() || all_done(); });
    if (all_done()) return;
    // Another rank may have begun to copy from this one before the failure was known.
    run_->changed_.wait(lock, [&] {
      return std::ranges::none_of(slots, [](const Slot& slot) { return slot.copying; });
    });
    if (run_->failed_rank_ >= 0) {
      throw PeerFailure(this_rank, place(own), run_->failed_rank_, run_->why_);
    }

    std::vector<std::string> missing;
    for (std::size_t q = 0; q < slots.size(); ++q) {
      if (slots[q].*done) continue;
      missing.push_back(last_seen(q));
    }
    const std::string waited =
        in_time ? " waits in vain in " : text(" waited ", run_->deadline_seconds_, " s in ");
    throw Error(Cause::cluster, this_rank, waited, place(own), " for ", join(missing, "; "),
                in_time ? "" : "; a longer deadline helps only if the rank is slow, not stuck");
  }

  std::string last_seen(std::size_t q) const {
    const Run::Rank& rank = run_->ranks_[ranks_in_run_[q]];
    return text("rank ", ranks_in_run_[q],
                rank.left ? ", which has ended after " : ", last seen in ",
                rank.last_place.empty() ? "no collective" : rank.last_place);
  }

  // The first disagreement in rank order, the same on every rank; empty if there is none.
  std::string find_mismatch(const Round& round) const {
    for (std::size_t p = 0; p < round.slots.size(); ++p) {
      for (std::size_t q = 0; q < round.slots.size(); ++q) {
        const Messages& from = round.slots[p].messages;
        const Messages& to = round.slots[q].messages;
        if (from.of_check != to.of_check ||
            (!from.of_check &&
             (from.number != to.number || std::strcmp(from.name, to.name) != 0))) {
          return text("rank ", ranks_in_run_[p], " is in ", place(from), " while rank ",
                      ranks_in_run_[q], " is in ", place(to));
        }
        if (from.send_bytes[q] != to.receive_bytes[p]) {
          return text("in ", place(from), " rank ", ranks_in_run_[p], " sends ", from.send_bytes[q],
                      " bytes to rank ", ranks_in_run_[q], ", which expects ", to.receive_bytes[p]);
        }
      }
    }
    return "";
  }

  const std::shared_ptr<Run> run_;
  const std::vector<int> ranks_in_run_;
  std::vector<std::uint64_t> posted_;  // rounds by each rank
  std::vector<std::uint64_t> begun_;   // the latest number that each rank has begun beside them
  std::map<std::uint64_t, Round> rounds_;
};

namespace {

struct ThreadTransfer final : Transfer {
  ThreadTransfer(Messages posted, std::uint64_t round)
      : Transfer(std::move(posted)), number(round) {}

  std::uint64_t number;  // of the round in its group
};

}  // namespace

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

std::exception_ptr ThreadCommunicator::heard_beside(const std::string& where) const {
  return run_->heard(this_rank(), where);
}

std::string ThreadCommunicator::behind_in(std::uint64_t number) const {
  return group_->behind_in(number);
}

void ThreadCommunicator::note_begun(const char* name, std::uint64_t number) {
  group_->note_begun(rank(), number, HostCommunicator::place(name, number));
}

std::unique_ptr<Transfer> ThreadCommunicator::post(Messages messages) {
  const std::uint64_t number = group_->post(rank(), messages);
  return std::make_unique<ThreadTransfer>(std::move(messages), number);
}

void ThreadCommunicator::finish(Transfer& transfer) {
  const std::uint64_t number = static_cast<ThreadTransfer&>(transfer).number;
  transfer.over_at = group_->finish(rank(), number, this_rank());
  transfer.is_over = true;
}

void ThreadCommunicator::advance(std::vector<std::unique_ptr<Transfer>>& transfers) {
  // Nothing moves before a rank copies in finish(); what can be told is when it could have.
  for (const std::unique_ptr<Transfer>& transfer : transfers) {
    if (transfer->is_over) continue;
    const auto at = group_->complete_at(static_cast<ThreadTransfer&>(*transfer).number);
    if (!at) continue;
    transfer->is_over = true;
    transfer->over_at = *at;
  }
}

void ThreadCommunicator::listen(const std::function<std::string()>& where) {
  run_->listen(this_rank(), where);
}

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
    threads.emplace_back([&, rank, of_rank = compute_threads()] {
      const ComputeThreads as_there(of_rank);
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
