#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/host_communicator.h"

namespace micrec {

/// Calls `body` on `ranks` threads of this process, each with its rank's communicator, and returns
/// when all have ended. Each of them computes with as many threads as the caller.
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
  class Run;    // what all ranks share
  class Group;  // what the ranks of a group share

  ThreadCommunicator(std::shared_ptr<Run> run, Membership membership,
                     const CommunicatorOptions& options);

  void abort(const std::string& why) noexcept override;
  std::exception_ptr heard_beside(const std::string& where) const override;
  std::string behind_in(std::uint64_t number) const override;

 private:
  void note_begun(const char* name, std::uint64_t number) override;
  std::unique_ptr<Communicator> make_subgroup(Membership membership) override;
  std::unique_ptr<Transfer> post(Messages messages) override;
  void finish(Transfer& transfer) override;
  void advance(std::vector<std::unique_ptr<Transfer>>& transfers) override;
  void listen(const std::function<std::string()>& where) override;

  std::shared_ptr<Run> run_;
  std::shared_ptr<Group> group_;
};

}  // namespace micrec
