#pragma once

#include "kernels/device_warp.h"

// For sources that nvcc compiles.
namespace micrec {

/// One thread of the block that runs this code; see count_ahead_block.h.
class DeviceBlock {
 public:
  template <typename T>
  using Threads = OwnOfThread<T>;

  template <typename Body>
  __device__ __forceinline__ void each(const Body& body) const {
    body(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

}  // namespace micrec
