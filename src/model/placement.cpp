#include "model/placement.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace micrec {
namespace {

bool is_whole(const Shard& shard, Placement placement) {
  return shard.columns == nullptr || placement == Placement::everywhere;
}

}  // namespace

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
