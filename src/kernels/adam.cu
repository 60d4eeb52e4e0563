#include <algorithm>

#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr std::int64_t kMostBlocks = 1 << 16;

__global__ void adam(AdamFactors factors, const float* gradient, float* value, float* m, float* v,
                     std::int64_t count) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    adam_element(factors, gradient ? gradient[i] : 0.0F, value[i], m[i], v[i]);
  }
}

}  // namespace

cudaError_t launch_adam(const AdamFactors& factors, const float* gradient, float* value, float* m,
                        float* v, std::int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const std::int64_t wanted = (count + kThreads - 1) / kThreads;
  adam<<<static_cast<unsigned>(std::min(wanted, kMostBlocks)), kThreads, 0, stream>>>(
      factors, gradient, value, m, v, count);
  return cudaGetLastError();
}

}  // namespace micrec
