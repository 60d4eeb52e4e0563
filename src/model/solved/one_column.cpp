#include "model/solved/one_column.h"

#include <ATen/ATen.h>

namespace micrec {

OneColumn::OneColumn(const PartInputs& inputs, TemplateEmbedding& embedding)
    : shard_(inputs.shard),
      embedding_(embedding),
      sums_(inputs.sums),
      counts_(inputs.config.kind == ModelKind::popularity) {}

at::Tensor OneColumn::is_user() const { return shard_.item_domain.sum(1, /*keepdim=*/true) == 0; }

void OneColumn::initialise() { embedding_.table().zero_(); }

StepLoss OneColumn::step(at::Tensor& votes) {
  if (counts_) {
    embedding_.table().copy_(
        at::where(is_user(), at::ones({}), shard_.training_degree.unsqueeze(1)));
  }
  sum_over_ranks(shard_, sums_, at::zeros({shard_.summands(), 0}, at::kDouble), votes);
  return {};
}

void OneColumn::infer_new(at::Tensor& rows) const {
  if (!counts_) return;
  const at::Tensor degree = shard_.degree.slice(0, 0, shard_.owned_rows());
  const at::Tensor is_new = (shard_.training_degree == 0).unsqueeze(1);
  const at::Tensor inferred = at::where(is_user(), at::ones({}), degree.unsqueeze(1));
  rows.copy_(at::where(is_new, inferred, rows));
}

RowsOfNew OneColumn::rows_of_new() const {
  return
      [counts = counts_, options = shard_.degree.options()](const Pattern& items, int /*domain*/) {
        return at::full({items.rows(), 1}, counts ? 1.0 : 0.0, options);
      };
}

}  // namespace micrec
