#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

#include "cluster/communicator.h"

namespace micrec {

/// A device other than the CPU, played by the host, so that what the program does for a GPU runs
/// where there is none.
///
/// Its tensors have addresses that the host cannot read: code that takes one for host memory dies.
/// Its operators are the CPU's, but refuse tensors of two devices as CUDA does. Its part of
/// autograd runs on a thread of its own, as a GPU's does. Linked into a program, it also stands in
/// for the kernels that run on LibTorch's current CUDA stream.
c10::Device played_device();

/// Where the host finds what a tensor of the device points to.
template <typename T>
T* on_host(T* address) {
  constexpr std::uintptr_t kElsewhere = std::uintptr_t{1} << 62;
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(address) & ~kElsewhere);
}

/// Copies between the host and the device since the last reset, the collectives' left out.
struct DeviceTraffic {
  std::int64_t uploads = 0;
  std::int64_t downloads = 0;
};
DeviceTraffic device_traffic();
void reset_device_traffic();

/// Moves tensors of the device as NcclCommunicator does a GPU's; `host` moves the bytes and
/// outlives the result.
std::unique_ptr<Communicator> over_played_device(Communicator& host);

}  // namespace micrec
