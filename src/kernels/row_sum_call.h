#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/neighbour_sum.h"
#include "kernels/pattern.h"
#include "kernels/row_sum.h"

namespace micrec {

/// A call of neighbour_sum as a device runs it: everything in its memory.
struct RowSumCall {
  SumWork work;  // its x and out are not used
  const void* x = nullptr;
  void* out = nullptr;
  bool x_is_bfloat16 = false;
  bool out_is_bfloat16 = false;
  HubWork hubs;
  std::int64_t output_rows = 0;
  std::vector<at::Tensor> copies;  // that this call alone needs

  template <typename Stored>
  RowSumWork<Stored> typed() const {
    return {work, static_cast<const Stored*>(x), out, out_is_bfloat16};
  }
};

/// Brings to x's device what a call needs of the host; arguments as neighbour_sum_into's, whose
/// checks have passed. The pattern, the numbers of its rows, its hubs where all rows of a range are
/// wanted, and a set of rows are copied only the first time.
RowSumCall prepare_row_sum(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                           const SumOptions& options);

/// neighbour_sum_into on a GPU, given to LibTorch's current stream. In a program without CUDA,
/// where no tensor is on a GPU, it ends it.
void neighbour_sum_on_gpu(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                          const SumOptions& options);

}  // namespace micrec
