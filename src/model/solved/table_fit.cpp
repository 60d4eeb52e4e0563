#include "model/solved/table_fit.h"

#include <ATen/ATen.h>

#include "model/solved/ials.h"
#include "model/solved/one_column.h"
#include "model/step/dense_inputs.h"

namespace micrec {
std::unique_ptr<TableFit> make_table_fit(const PartInputs& inputs, TemplateEmbedding& embedding) {
  switch (inputs.config.kind) {
    case ModelKind::ials:
      return std::make_unique<ImplicitAls>(inputs, embedding);
    case ModelKind::popularity:
    case ModelKind::item_regression:
      return std::make_unique<OneColumn>(inputs, embedding);
    default:
      return nullptr;
  }
}

at::Tensor sum_over_ranks(const Shard& shard, const ColumnSums& sums, const at::Tensor& of_summands,
                          at::Tensor& votes) {
  DenseInputs::Extra extra{of_summands, votes};
  DenseInputs(shard, sums).finish(extra);
  votes.copy_(extra.of_ranks);
  return extra.of_groups;
}

void declare_table_fit(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  costs.memory(MemoryKind::embeddings, at.matrix_bytes());
  costs.memory(MemoryKind::evaluation,
               4 * at.matrix_bytes() + 2 * at.halo_received() * at.row_bytes());
  costs.copied_bytes(at.matrix_bytes());
  if (shape.config.kind == ModelKind::ials) ImplicitAls::declare(shape, at, costs);
  DenseInputs::declare(at, costs, /*of_groups=*/shape.config.kind == ModelKind::ials ? 2 : 0,
                       /*of_ranks=*/0);
}

}  // namespace micrec
