#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/adam_element.h"

namespace micrec {

/// Gives the stream one step over `count` numbers; all pointers are the GPU's, gradient may be
/// null: zero.
cudaError_t launch_adam(const AdamFactors& factors, const float* gradient, float* value, float* m,
                        float* v, std::int64_t count, cudaStream_t stream);

}  // namespace micrec
