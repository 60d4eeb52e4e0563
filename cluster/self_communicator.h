#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
  // Nothing is ever posted where there is nobody to send to.
  std::unique_ptr<Transfer> post(Messages /*messages*/) override { return nullptr; }
  void finish(Transfer& /*transfer*/) override {}
  void advance(std::vector<std::unique_ptr<Transfer>>& /*transfers*/) override {}
  void listen(const std::function<std::string()>& /*where*/) override {}
};

}  // namespace micrec
