#include <cuda_runtime_api.h>

#include <algorithm>

#include "cluster/rank_reduction.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr std::int64_t kMostBlocks = 1 << 16;

template <typename T, int reduction>
__global__ void reduce_over_ranks(T* into, const T* parts, std::int64_t count, int ranks) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    into[i] = reduced_over_ranks<T, reduction>(parts, count, ranks, i);
  }
}

template <typename T>
void launch(int reduction, void* into, const void* parts, std::int64_t count, int ranks,
            cudaStream_t stream) {
  const std::int64_t wanted = (count + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(std::min(wanted, kMostBlocks));
  T* const to = static_cast<T*>(into);
  const T* const from = static_cast<const T*>(parts);
  if (reduction == 0) {
    reduce_over_ranks<T, 0><<<blocks, kThreads, 0, stream>>>(to, from, count, ranks);
  } else if (reduction == 1) {
    reduce_over_ranks<T, 1><<<blocks, kThreads, 0, stream>>>(to, from, count, ranks);
  } else {
    reduce_over_ranks<T, 2><<<blocks, kThreads, 0, stream>>>(to, from, count, ranks);
  }
}

}  // namespace

int launch_rank_reduction(ReducedType type, int reduction, void* into, const void* parts,
                          std::int64_t count, int ranks, CUstream_st* stream) {
  if (count == 0) return cudaSuccess;
  switch (type) {
    case ReducedType::float32:
      launch<float>(reduction, into, parts, count, ranks, stream);
      break;
    case ReducedType::float64:
      launch<double>(reduction, into, parts, count, ranks, stream);
      break;
    case ReducedType::int32:
      launch<std::int32_t>(reduction, into, parts, count, ranks, stream);
      break;
    case ReducedType::int64:
      launch<std::int64_t>(reduction, into, parts, count, ranks, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace micrec
