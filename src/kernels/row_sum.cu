#include <algorithm>

#include "kernels/row_sum.h"
#include "kernels/row_sum_launch.h"

namespace micrec {
namespace {

constexpr int kWarpsPerBlock = 4;
constexpr int kThreadsPerBlock = kWarpsPerBlock * kWarpLanes;
constexpr unsigned kAllLanes = 0xffffffffU;
constexpr std::int64_t kMostBlocks = 1 << 30;

/// One lane of the warp that runs this code; see row_sum.h.
class DeviceWarp {
 public:
  template <typename T>
  struct Lanes {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
    __device__ __forceinline__ const T& operator[](int) const { return value; }
  };

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

 private:
  int lane_;
};

template <typename Stored, int width>
__global__ void __launch_bounds__(kThreadsPerBlock)
    sum_rows(RowSumWork<Stored> work, HubWork hubs, std::int64_t output_rows) {
  const DeviceWarp warp(static_cast<int>(threadIdx.x % kWarpLanes));
  const std::int64_t stride = std::int64_t{gridDim.x} * kWarpsPerBlock;
  for (std::int64_t task = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarpLanes;
       task < hubs.piece_count + output_rows; task += stride) {
    sum_task<Stored, width>(warp, work, hubs, task);
  }
}

template <typename Stored>
__global__ void finish_hubs(RowSumWork<Stored> work, HubWork hubs) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < hubs.hub_count * work.common.dim) finish_hub_number(work, hubs, i);
}

template <typename Stored>
cudaError_t launch(const RowSumWork<Stored>& work, const HubWork& hubs, std::int64_t output_rows,
                   cudaStream_t stream) {
  const std::int64_t tasks = hubs.piece_count + output_rows;
  if (tasks == 0) return cudaSuccess;
  const auto blocks =
      static_cast<unsigned>(std::min((tasks + kWarpsPerBlock - 1) / kWarpsPerBlock, kMostBlocks));
  switch (pack_width<Stored>(work.common.dim, reinterpret_cast<std::uintptr_t>(work.x))) {
    case 4:
      sum_rows<Stored, 4><<<blocks, kThreadsPerBlock, 0, stream>>>(work, hubs, output_rows);
      break;
    case 2:
      sum_rows<Stored, 2><<<blocks, kThreadsPerBlock, 0, stream>>>(work, hubs, output_rows);
      break;
    default:
      sum_rows<Stored, 1><<<blocks, kThreadsPerBlock, 0, stream>>>(work, hubs, output_rows);
  }
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  if (hubs.hub_count == 0) return cudaSuccess;
  const std::int64_t numbers = hubs.hub_count * work.common.dim;
  finish_hubs<<<static_cast<unsigned>((numbers + kThreadsPerBlock - 1) / kThreadsPerBlock),
                kThreadsPerBlock, 0, stream>>>(work, hubs);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_row_sum(const RowSumWork<float>& work, const HubWork& hubs,
                           std::int64_t output_rows, cudaStream_t stream) {
  return launch(work, hubs, output_rows, stream);
}

cudaError_t launch_row_sum(const RowSumWork<Bfloat16Bits>& work, const HubWork& hubs,
                           std::int64_t output_rows, cudaStream_t stream) {
  return launch(work, hubs, output_rows, stream);
}

}  // namespace micrec
