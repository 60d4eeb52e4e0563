#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <glog/logging.h>

#include <cstdint>
#include <numeric>
#include <vector>

// Arithmetic of rows that every backend does before it moves any; included by their sources alone.
namespace micrec {

/// Rows of all ranks.
inline std::int64_t total(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

/// CHECK: one number a rank, none below zero.
inline void check_rows(const char* name, const std::vector<std::int64_t>& rows, int ranks) {
  CHECK_EQ(static_cast<int>(rows.size()), ranks) << name << ": one number of rows a rank";
  for (const std::int64_t count : rows) CHECK_GE(count, 0) << name;
}

/// Bytes of one row. CHECK: there is a dimension of rows.
inline std::int64_t row_bytes(const char* name, const at::Tensor& tensor) {
  CHECK_GE(tensor.dim(), 1) << name << ": a tensor of rows has at least one dimension";
  std::int64_t bytes = static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t d = 1; d < tensor.dim(); ++d) bytes *= tensor.size(d);
  return bytes;
}

/// Not initialised, of the type, device and row shape of `like`.
inline at::Tensor empty_rows(const at::Tensor& like, std::int64_t rows) {
  std::vector<std::int64_t> shape = like.sizes().vec();
  shape[0] = rows;
  return at::empty(shape, like.options().requires_grad(false));
}

}  // namespace micrec
