#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/timer.h"
#include "cluster/host_communicator.h"
#include "cluster/nccl_link.h"

namespace micrec {

/// What ended the communicators of one rank that move data by NCCL, all groups of them; from any
/// thread.
class NcclFailure {
 public:
  bool is_set() const { return is_set_; }
  /// Keeps the first. `untold`: what the rank's own thread has still to throw, or null.
  void set(const std::string& where, const std::exception_ptr& untold);
  /// Throws what is untold, once; else returns the place.
  std::string tell();

 private:
  std::atomic<bool> is_set_ = false;
  std::mutex mutex_;
  std::string where_;
  std::exception_ptr untold_;
};

/// A thread beside that of a rank which watches what one of its communicators has under way on the
/// GPU: against the deadline, NCCL's own errors and the failures that other ranks announce. Each of
/// these ends NCCL's work, so that the rank's thread, which may wait for its GPU, comes back.
///
/// The rank's line on the progress board shows the collective that its GPU waits in.
/// Cost     a look every 2 ms while something is under way, sleep otherwise.
class NcclWatch {
 public:
  /// One collective that the GPU was given.
  struct UnderWay {
    const char* name = nullptr;  ///< a literal
    std::uint64_t number = 0;
    std::uint64_t begun = 0;  ///< as HostCommunicator::begin_beside returned it
    std::shared_ptr<NcclLink::Mark> mark;
    bool is_awaited = false;  ///< the rank waits for it: from here the deadline counts
  };

  /// All outlive it.
  NcclWatch(NcclLink& link, HostCommunicator& host, double deadline_seconds, NcclFailure& failure);
  /// Does not wait for what is under way.
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  void add(const UnderWay& collective);
  /// The rank waits for that collective from now on.
  void await(std::uint64_t number);
  /// Returns when nothing is under way any more, or after a failure.
  void drain();

 private:
  struct Entry {
    UnderWay collective;
    Timer since_given;
  };

  void run();
  void look(const UnderWay& oldest, int looks, double waited_seconds);

  NcclLink& link_;
  HostCommunicator& host_;
  const double deadline_seconds_;
  NcclFailure& failure_;
  std::mutex mutex_;  // of the next two
  std::deque<Entry> under_way_;
  bool stops_ = false;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace micrec
