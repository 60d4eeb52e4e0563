#pragma once

#include <cuda_runtime_api.h>

#include "kernels/gpu_kernels.h"

// What the .cu sources offer: each gives its work to a stream. All pointers are the GPU's.
namespace micrec {

#define MICREC_LAUNCH(name, Call, what) \
  cudaError_t launch_##name(const Call& call, cudaStream_t stream);
MICREC_GPU_KERNELS(MICREC_LAUNCH)
#undef MICREC_LAUNCH

}  // namespace micrec
