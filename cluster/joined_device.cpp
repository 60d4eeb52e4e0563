#include "cluster/joined_device.h"

#include "cluster/device.h"
#include "cluster/nccl_communicator.h"

namespace micrec {

JoinedDevice::JoinedDevice(const std::string& wanted, const CommunicatorOptions& options,
                           Communicator& host, Communicator& meeting)
    : host_(host) {
  // Whoever computes on the CPU need not wake the GPUs' driver.
  const VisibleGpus gpus = wanted == "cpu" ? VisibleGpus{} : find_gpus();
  const DeviceChoice choice = choose_device(wanted, gpus, read_launch_environment(), meeting);
  device_ = choice.device;
  note_ = choice.note;
  if (device_.is_cpu()) return;
  use_device(device_);
  std::unique_ptr<NcclLink> link = make_nccl_link(device_);
  const NcclId id = NcclCommunicator::share_id(meeting, *link);
  on_gpus_ = std::make_unique<NcclCommunicator>(host, std::move(link), id, options);
  meeting.barrier("nccl.joined");
}

}  // namespace micrec
