#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace micrec {

/// Numbers that NcclLink::reduce adds up.
enum class ReducedType { float32, float64, int32, int64 };

/// Gives the stream a kernel of one thread an element; see reduced_over_ranks. `reduction`: 0 sum,
/// 1 minimum, 2 maximum.
cudaError_t launch_rank_reduction(ReducedType type, int reduction, void* into, const void* parts,
                                  std::int64_t count, int ranks, cudaStream_t stream);

}  // namespace micrec
