#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "cluster/host_communicator.h"
#include "cluster/nccl_communicator.h"

namespace micrec {

/// The device of a rank, and a communicator that moves tensors on it as well as those in main
/// memory: over NCCL for a GPU, the host's own for a CPU.
class JoinedDevice {
 public:
  /// `wanted`: "auto", "cpu" or "cuda", see choose_device. `host` outlives this; the ranks agree
  /// over `meeting`, a communicator of the same ranks, so that host's first collective is the
  /// run's own. Ranks: collective over `meeting`. Errors: Error(Cause::cluster).
  JoinedDevice(const std::string& wanted, const CommunicatorOptions& options,
               HostCommunicator& host, Communicator& meeting);

  c10::Device device() const { return device_; }
  Communicator& communicator() {
    if (on_gpus_) return *on_gpus_;
    return host_;
  }

  /// Throws what has ended the collectives on GPUs, if no call has thrown it: whatever the rank met
  /// after that came of it. Nothing on a CPU, as the next.
  void throw_untold() {
    if (on_gpus_) on_gpus_->throw_untold();
  }
  /// Waits until no collective is under way, and throws as throw_untold.
  void settle() {
    if (on_gpus_) on_gpus_->settle();
  }

  /// What the user should know of the choice, the same on all ranks; may be empty.
  const std::string& note() const { return note_; }

 private:
  HostCommunicator& host_;
  c10::Device device_{c10::kCPU};
  std::string note_;
  std::unique_ptr<NcclCommunicator> on_gpus_;
};

}  // namespace micrec
