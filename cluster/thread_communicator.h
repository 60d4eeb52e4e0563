#pragma once

#include <functional>
#include <memory>

#include "cluster/host_communicator.h"

namespace micrec {

/// Calls `body` on `ranks` threads of this process, each with its rank's communicator, and returns
/// when all have ended.
///
/// A rank that throws ends the collectives of the others at once with a PeerFailure; so does a rank
/// that returns while the others still wait for it.
///
/// Errors   Throws what the first rank to fail threw.
void run_ranks(int ranks, const std::function<void(Communicator&)>& body,
               const CommunicatorOptions& options = {});

/// Rank of a group whose ranks are threads: they read each other's buffers directly.
class ThreadCommunicator final : public HostCommunicator {
 public:
  class Group;  // what the ranks share

  ThreadCommunicator(std::shared_ptr<Group> group, int rank, int size,
                     const CommunicatorOptions& options);

  void abort(const std::string& why) noexcept override;

 private:
  void exchange(const Exchange& exchange) override;

  std::shared_ptr<Group> group_;
};

}  // namespace micrec
