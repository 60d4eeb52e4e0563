#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/communicator.h"
#include "kernels/sparse_rows.h"

namespace micrec {

/// Rows of a sparse matrix one after the other, on a device.
struct DeviceRows {
  at::Tensor lengths;  // (rows) int32
  at::Tensor columns;  // (nonzeros) int32
  at::Tensor values;   // (nonzeros) float32
};

/// The same on the CPU.
SparseRows to_host(const DeviceRows& rows);

/// Rows of sparse matrices of all ranks one after the other, rank 0's first.
///
/// Shapes   own: numbers of rows of `matrix`, rows_per_rank[rank] of them; a row below 0 is empty.
/// Ranks    collective: three exchanges, on the communicator's device.
DeviceRows gather_rows(const char* name, const SparseRows& matrix,
                       std::span<const std::int64_t> own,
                       const std::vector<std::int64_t>& rows_per_rank, c10::Device device,
                       Communicator& communicator);

}  // namespace micrec
