#include "model/popularity.h"

#include <ATen/ATen.h>

namespace micrec {

Popularity::Popularity(const PartInputs& inputs, TemplateEmbedding& embedding)
    : shard_(inputs.shard),
      embedding_(embedding),
      sums_(shard_.grid, inputs.config.dim, shard_.columns, shard_.threads) {}

at::Tensor Popularity::is_user() const { return shard_.item_domain.sum(1, /*keepdim=*/true) == 0; }

void Popularity::initialise() { embedding_.table().zero_(); }

StepLoss Popularity::step(at::Tensor& votes) {
  embedding_.table().copy_(at::where(is_user(), at::ones({}), shard_.training_degree.unsqueeze(1)));
  sum_over_ranks(shard_, sums_, at::zeros({shard_.summands(), 0}, at::kDouble), votes);
  return {};
}

void Popularity::infer_new(at::Tensor& rows) const {
  const at::Tensor degree = shard_.degree.slice(0, 0, shard_.owned_rows());
  const at::Tensor is_new = (shard_.training_degree == 0).unsqueeze(1);
  const at::Tensor inferred = at::where(is_user(), at::ones({}), degree.unsqueeze(1));
  rows.copy_(at::where(is_new, inferred, rows));
}

RowsOfNew Popularity::rows_of_new() const {
  return [options = shard_.degree.options()](const Pattern& items, int /*domain*/) {
    return at::ones({items.rows(), 1}, options);
  };
}

}  // namespace micrec
