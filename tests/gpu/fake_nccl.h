#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cluster/nccl_link.h"

namespace micrec {

/// NCCL and GPUs made of threads and main memory, as awkward as the real ones. What is given to a
/// stream happens late, after more than 16 looks at it, and only while somebody looks; joining and
/// giving work take several looks; messages wait until both sides are there, and NCCL's own
/// collectives until all ranks are; sums go in an order that is not the ranks'; a rank that aborts
/// tells nobody. Before the ranks have joined every call of NCCL is refused, as by NCCL itself.
///
/// A rank has one current stream, shared by its links. What a link moved is there for the rank only
/// after synchronize(), and of that only what the current stream was led behind: before, the memory
/// that will be written holds noise. It fails the test where a caller breaks a rule of NcclLink.
class FakeNccl {
 public:
  struct Faults {
    NcclLink::Versions versions{22809, 22809};
    bool never_joins = false;
    int never_moves_from = -1;  ///< the work of a rank, counted from 0, that gets stuck
    int fails_in = -1;          ///< the work whose failure NCCL reports ...
    int refused = -1;      ///< or that it refuses when it is given, in a group if it is one ...
    int breaks_in = -1;    ///< or at which the GPU itself fails, so that CUDA refuses all ...
    int failing_rank = 0;  ///< ... on this rank alone
  };
  struct Seen {
    int calls = 0;        ///< of any kind, on any link of the rank
    int groups = 0;       ///< of sends and receives
    int all_gathers = 0;  ///< and other collectives of NCCL's own
    int all_reduces = 0;
    int broadcasts = 0;
    int aborts = 0;
    int leaves = 0;
    std::int64_t bytes_sent = 0;  ///< in groups

    int work() const { return groups + all_gathers + all_reduces + broadcasts; }
  };

  FakeNccl() = default;
  explicit FakeNccl(const Faults& faults) : faults_(faults) {}

  /// `device`: where the tensors are that it takes for a GPU's. The hub must outlive its links.
  std::unique_ptr<NcclLink> link(int rank_in_run, c10::Device device = c10::Device(c10::kCPU));
  /// As a link's make_id.
  NcclId make_id();
  /// Waits, in the thread of the rank, until its current stream has nothing left to do.
  void synchronize(int rank_in_run);
  /// What the links of a rank have done so far.
  Seen seen(int rank_in_run);

 private:
  class Link;
  class FakeMark;
  struct Message {
    const std::byte* from = nullptr;
    std::int64_t bytes = 0;
    bool taken = false;
  };
  // A collective of NCCL's own: what each rank brought, so that no rank reads what another writes.
  struct Together {
    std::string kind;
    std::map<int, std::vector<std::byte>> brought;
  };
  struct Room {  // of one communicator
    int joined = 0;
    std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> messages;  // by (from, to)
    std::map<int, Together> together;  // by its number among them
  };

  Faults faults_;
  std::mutex mutex_;  // of all below, and of the memory that moves
  int ids_ = 0;
  std::map<NcclId, Room> rooms_;
  std::map<int, Seen> seen_;
  std::map<int, std::vector<std::shared_ptr<FakeMark>>> current_;  // that its stream waits for
};

}  // namespace micrec
