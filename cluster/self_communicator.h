#pragma once

#include "cluster/host_communicator.h"

namespace micrec {

/// The communicator of a program that runs as one process.
class SelfCommunicator final : public HostCommunicator {
 public:
  explicit SelfCommunicator(const CommunicatorOptions& options = {})
      : HostCommunicator(0, 1, options) {}

  void abort(const std::string& /*why*/) noexcept override {}

 private:
  void exchange(const Exchange& /*exchange*/) override {}
};

}  // namespace micrec
