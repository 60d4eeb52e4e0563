#include "model/placement.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace micrec {
namespace {

bool is_whole(const Shard& shard, Placement placement) {
  return shard.columns == nullptr || placement == Placement::everywhere;
}

}  // namespace

at::Tensor mean_rows_of_kinds(const Shard& shard, const at::Tensor& rows,
                              const at::Tensor& chosen) {
  constexpr double kUnit = 4294967296.0;  // 2^32
  const at::Tensor of_chosen = chosen.to(at::kLong);
  const at::Tensor fixed = (rows.to(at::kDouble) * kUnit).round().to(at::kLong);
  const at::Tensor kind = shard.kind.to(at::kLong);
  const std::int64_t width = rows.size(1);
  at::Tensor sums = at::zeros({kind.size(1), width + 1}, kind.options());
  for (std::int64_t column = 0; column < kind.size(1); ++column) {
    const at::Tensor of_kind = of_chosen * kind.select(1, column);
    sums[column].slice(0, 0, width).copy_((fixed * of_kind.unsqueeze(1)).sum(0));
    sums[column][width] = of_kind.sum();
  }
  shard.communicator->all_reduce("means_of_old", sums);
  const at::Tensor count = sums.slice(1, width, width + 1).clamp_min(1);
  return (sums.slice(1, 0, width).to(at::kDouble) / (count.to(at::kDouble) * kUnit)).to(at::kFloat);
}

at::Tensor to_whole(const Shard& shard, const at::Tensor& value, Placement placement) {
  const c10::NoGradGuard no_gradient;
  if (has_row_a_node(placement)) {
    return shard.columns_of_rows->to_whole("state.whole", value.detach());
  }
  return is_cut_in_columns(placement)
             ? gather_columns(shard.columns, "state.columns", value.detach())
             : value.detach();
}

at::Tensor empty_whole(const Shard& shard, const at::Tensor& value, Placement placement) {
  if (is_whole(shard, placement)) return value.detach();
  std::vector<std::int64_t> shape = value.sizes().vec();
  if (has_row_a_node(placement)) {
    shape.front() = static_cast<std::int64_t>(shard.whole_nodes.size());
  }
  if (is_cut_in_columns(placement)) shape.back() *= shard.grid.columns;
  return at::empty(shape, value.options().requires_grad(false));
}

void from_whole(const Shard& shard, const at::Tensor& whole, Placement placement,
                at::Tensor value) {
  if (is_whole(shard, placement)) return;
  const c10::NoGradGuard no_gradient;
  if (has_row_a_node(placement)) {
    value.copy_(shard.columns_of_rows->to_columns("state.columns", whole));
    return;
  }
  const std::int64_t width = value.size(-1);
  value.copy_(whole.slice(-1, shard.column_part() * width, (shard.column_part() + 1) * width));
}

}  // namespace micrec
