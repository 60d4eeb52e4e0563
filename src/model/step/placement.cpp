#include "model/step/placement.h"

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
  constexpr double kUnit = 4294967296.0;          // 2^32
  constexpr std::int64_t kRowsAtATime = 1 << 20;  // of which there are copies in 8 bytes a number
  const std::int64_t width = rows.size(1);
  const std::int64_t kinds = shard.kind.size(1);
  at::Tensor sums = at::zeros({kinds, width + 1}, shard.kind.options().dtype(at::kLong));
  for (std::int64_t begin = 0; begin < rows.size(0); begin += kRowsAtATime) {
    const auto part = [begin](const at::Tensor& of) {
      return of.slice(0, begin, begin + kRowsAtATime);
    };
    const at::Tensor fixed = at::mul(part(rows).to(at::kDouble), kUnit).round_().to(at::kLong);
    const at::Tensor kind = part(shard.kind).to(at::kLong);
    const at::Tensor of_chosen = part(chosen).to(at::kLong);
    for (std::int64_t column = 0; column < kinds; ++column) {
      const at::Tensor of_kind = of_chosen * kind.select(1, column);
      sums[column].slice(0, 0, width).add_((fixed * of_kind.unsqueeze(1)).sum(0));
      sums[column][width].add_(of_kind.sum());
    }
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
