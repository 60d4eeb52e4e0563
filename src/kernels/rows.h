#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/pattern.h"
#include "kernels/upload.h"

namespace micrec {

/// A matrix whose rows will be read in random order: where it is large, on huge pages, without
/// which every read of a row would first have to look up its page (twice the time of a neighbour
/// sum over a million rows). Shapes: returns (shape[0], ...), not initialised.
at::Tensor empty_rows(at::IntArrayRef shape, const at::TensorOptions& options);

/// The numbers of a contiguous float32 tensor of the host, row after row; the tensor keeps them.
inline std::span<const float> values_of(const at::Tensor& rows) {
  return {rows.const_data_ptr<float>(), static_cast<std::size_t>(rows.numel())};
}

/// The rows of x named by `rows`, in their order, where it is or into `gathered`; any dtype.
/// Shapes: x (n, ...), contiguous; returns and gathered: (rows, ...), contiguous.
at::Tensor gather_rows(const at::Tensor& x, const RowList& rows);
void gather_rows_into(at::Tensor& gathered, const at::Tensor& x, const RowList& rows);

/// The transpose of a gather as a pattern: row r lists the positions of `rows` that hold r, rising,
/// so that neighbour_sum adds what was gathered from a row in the order of the list. `count` is the
/// number of rows gathered from.
Pattern gathered_from(const std::vector<std::int32_t>& rows, std::int64_t count);

}  // namespace micrec
