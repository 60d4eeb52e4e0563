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

/// NCCL and GPUs made of threads and main memory, as awkward as the real ones: what is given to a
/// stream happens only when somebody asks whether it is done, joining and beginning a group take
/// several looks, messages wait until both sides are there, and a rank that aborts tells nobody. It
/// fails the test where a caller breaks a rule of NcclLink.
class FakeNccl {
 public:
  struct Faults {
    NcclLink::Versions versions{22809, 22809};
    bool never_joins = false;
    int never_moves_from_group = -1;  ///< the group of a rank, counted from 0, that gets stuck
    int fails_in_group = -1;          ///< the group whose failure NCCL reports ...
    int failing_rank = 0;             ///< ... on this rank alone
  };
  struct Seen {
    int groups = 0;
    int aborts = 0;
    int leaves = 0;
    std::int64_t bytes_sent = 0;
  };

  FakeNccl() = default;
  explicit FakeNccl(const Faults& faults) : faults_(faults) {}

  /// `device`: where the tensors are that it takes for a GPU's. The hub must outlive its links.
  std::unique_ptr<NcclLink> link(int rank_in_run, c10::Device device = c10::Device(c10::kCPU));
  /// As a link's make_id.
  NcclId make_id();
  /// What the links of a rank have done so far.
  Seen seen(int rank_in_run);

 private:
  class Link;
  struct Message {
    const std::byte* from = nullptr;
    std::int64_t bytes = 0;
    bool taken = false;
  };
  struct Room {  // of one communicator
    int joined = 0;
    std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> messages;  // by (from, to)
  };

  Faults faults_;
  std::mutex mutex_;  // of all below, and of the memory that messages lie in
  int ids_ = 0;
  std::map<NcclId, Room> rooms_;
  std::map<int, Seen> seen_;
};

}  // namespace micrec
