#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/adam_element.h"
#include "kernels/neighbour_sum_row.h"

// What the .cu sources offer: each gives its work to a stream. All pointers are the GPU's.
namespace micrec {

/// The sum of all output rows: a warp a row or a piece of a hub, then a thread a number of a hub.
cudaError_t launch_neighbour_sum(const SumCall& call, cudaStream_t stream);

/// A step of Adam: a block a chunk.
cudaError_t launch_adam(const AdamCall& call, cudaStream_t stream);

}  // namespace micrec
