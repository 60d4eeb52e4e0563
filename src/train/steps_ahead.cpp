#include "train/steps_ahead.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace micrec {

void StepsAhead::given() {
  constexpr std::size_t kMostAhead = 2;
  if (device_.is_cpu()) return;
  c10::Event end(device_.type());
  end.record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  ends_.push_back(std::move(end));
  if (ends_.size() <= kMostAhead) return;
  ends_.front().synchronize();
  ends_.pop_front();
}

}  // namespace micrec
