#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/row_sum.h"

namespace micrec {

/// Gives the stream the sum of all output rows: a warp a row or a piece of a hub, then a thread a
/// number of a hub.
cudaError_t launch_row_sum(const RowSumWork<float>& work, const HubWork& hubs,
                           std::int64_t output_rows, cudaStream_t stream);
cudaError_t launch_row_sum(const RowSumWork<Bfloat16Bits>& work, const HubWork& hubs,
                           std::int64_t output_rows, cudaStream_t stream);

}  // namespace micrec
