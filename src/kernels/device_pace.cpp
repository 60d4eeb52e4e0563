#include "kernels/device_pace.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace micrec {

void DevicePace::given(c10::Device device) {
  if (device.is_cpu()) return;
  c10::Event end(device.type());
  end.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  ends_.push_back(std::move(end));
  while (ends_.size() > ahead_) {
    ends_.front().synchronize();
    ends_.pop_front();
  }
}

}  // namespace micrec
