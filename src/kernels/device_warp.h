#pragma once

#include <cstdint>

#include "kernels/neighbour_sum_warp.h"

// For sources that nvcc compiles.
namespace micrec {

inline constexpr unsigned kAllLanes = 0xffffffffU;

/// A T a thread, of which the thread that runs this code has its own.
template <typename T>
struct OwnOfThread {
  T value;
  __device__ __forceinline__ T& operator[](int) { return value; }
  __device__ __forceinline__ const T& operator[](int) const { return value; }
};

/// One lane of the warp that runs this code; see neighbour_sum_warp.h.
class DeviceWarp {
 public:
  template <typename T>
  using Lanes = OwnOfThread<T>;

  __device__ __forceinline__ explicit DeviceWarp(int lane) : lane_(lane) {}

  template <typename Body>
  __device__ __forceinline__ void each(const Body& body) const {
    body(lane_);
  }
  __device__ __forceinline__ std::uint32_t ballot(const Lanes<bool>& flags) const {
    return __ballot_sync(kAllLanes, flags.value);
  }
  __device__ __forceinline__ Neighbour pick(const Lanes<Neighbour>& values, int lane) const {
    return {__shfl_sync(kAllLanes, values.value.row, lane),
            __shfl_sync(kAllLanes, values.value.weight, lane)};
  }
  __device__ __forceinline__ float largest(const Lanes<float>& numbers) const {
    float value = numbers.value;
    for (int apart = kWarpLanes / 2; apart > 0; apart /= 2) {
      value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, apart));
    }
    return value;
  }
  __device__ __forceinline__ double sum(const Lanes<double>& numbers) const {
    double value = numbers.value;
    for (int apart = kWarpLanes / 2; apart > 0; apart /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, apart);
    }
    return value;
  }

 private:
  int lane_;
};

}  // namespace micrec
