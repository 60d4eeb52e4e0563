#pragma once

#include <memory>
#include <string>
#include <utility>

#include "cluster/host_communicator.h"

namespace micrec {

/// The communicator of a program that runs as one process.
class SelfCommunicator final : public HostCommunicator {
 public:
  explicit SelfCommunicator(const CommunicatorOptions& options = {})
      : HostCommunicator(Membership::whole_run(0, 1), options) {}

  void abort(const std::string& /*why*/) noexcept override {}

 private:
  SelfCommunicator(Membership membership, const CommunicatorOptions& options)
      : HostCommunicator(std::move(membership), options) {}

  std::unique_ptr<Communicator> make_subgroup(Membership membership) override {
    return std::unique_ptr<Communicator>(new SelfCommunicator(std::move(membership), options()));
  }
  void listen(const std::string& /*where*/) override {}
  void exchange(const Exchange& /*exchange*/) override {}
};

}  // namespace micrec
