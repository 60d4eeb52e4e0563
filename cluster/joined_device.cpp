#include "cluster/joined_device.h"

#include "cluster/device.h"

namespace micrec {

JoinedDevice::JoinedDevice(const std::string& wanted, const CommunicatorOptions& options,
                           HostCommunicator& host, Communicator& meeting)
    : host_(host) {
  // Whoever computes on the CPU need not wake the GPUs' driver.
  const VisibleGpus gpus = wanted == "cpu" ? VisibleGpus{} : find_gpus();
  const DeviceChoice choice = choose_device(wanted, gpus, read_launch_environment(), meeting);
  device_ = choice.device;
  note_ = choice.note;
  if (device_.is_cpu()) return;
  use_device(device_);
  // A rank alone has no NCCL.
  std::unique_ptr<NcclLink> link = host.size() > 1 ? make_nccl_link(device_) : nullptr;
  const NcclId id = link ? NcclCommunicator::share_id(meeting, *link) : NcclId{};
  on_gpus_ = std::make_unique<NcclCommunicator>(host, device_, std::move(link), id, options);
  meeting.barrier("nccl.joined");
}

}  // namespace micrec
