#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

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

/// What the host has asked of the device, the collectives left out.
struct DeviceWork {
  std::int64_t launches = 0;  // kernels: an operator that computes or copies there, or one of ours
  std::int64_t uploads = 0;
  std::int64_t downloads = 0;
  /// How often the host stood still until the device had done all it was given: for a number or a
  /// tensor that it reads, for a result whose size the device decides, for memory that is not
  /// locked to be read.
  std::int64_t waits = 0;
  std::map<std::string, std::int64_t> by_operator;  // the launches

  DeviceWork operator-(const DeviceWork& before) const;
};
/// Since the program began.
DeviceWork device_work();

/// Moves tensors of the device as NcclCommunicator does a GPU's; `host` moves the bytes and
/// outlives the result.
std::unique_ptr<Communicator> over_played_device(Communicator& host);

}  // namespace micrec
