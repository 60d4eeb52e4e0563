#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "model/column_sums.h"
#include "model/row_functions.h"
#include "model/row_groups.h"

// The row functions on a device other than the CPU, made of LibTorch's operators: same arguments,
// shapes and ranks, the same formulas, and the same bits in every run, but sums in the device's own
// order. There is one group of rows, since only --reproducible has several.
namespace micrec::on_device {

at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups);

at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums);

at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums);

at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts);

}  // namespace micrec::on_device
