#include "model/table_fit.h"

#include <ATen/ATen.h>

#include "model/dense_inputs.h"
#include "model/ials.h"
#include "model/popularity.h"

namespace micrec {
namespace {

/// Of the kind without embeddings: one column of zeros.
class NoTable : public TableFit {
 public:
  NoTable(const PartInputs& inputs, TemplateEmbedding& embedding)
      : shard_(inputs.shard),
        embedding_(embedding),
        sums_(shard_.grid, inputs.config.dim, shard_.columns, shard_.threads) {}

  void initialise() override { embedding_.table().zero_(); }
  StepLoss step(at::Tensor& votes) override {
    sum_over_ranks(shard_, sums_, at::zeros({shard_.summands(), 0}, at::kDouble), votes);
    return {};
  }
  void infer_new(at::Tensor& /*rows*/) const override {}
  RowsOfNew rows_of_new() const override {
    return [options = shard_.degree.options()](const Pattern& items, int /*domain*/) {
      return at::zeros({items.rows(), 1}, options);
    };
  }

 private:
  const Shard& shard_;
  TemplateEmbedding& embedding_;
  ColumnSums sums_;
};

}  // namespace

std::unique_ptr<TableFit> make_table_fit(const PartInputs& inputs, TemplateEmbedding& embedding) {
  switch (inputs.config.kind) {
    case ModelKind::ials:
      return std::make_unique<ImplicitAls>(inputs, embedding);
    case ModelKind::popularity:
      return std::make_unique<Popularity>(inputs, embedding);
    case ModelKind::item_regression:
      return std::make_unique<NoTable>(inputs, embedding);
    default:
      return nullptr;
  }
}

at::Tensor sum_over_ranks(const Shard& shard, const ColumnSums& sums, const at::Tensor& of_summands,
                          at::Tensor& votes) {
  DenseInputs none(shard.summands(), sums.width());
  DenseInputs::Extra extra{of_summands, votes};
  none.finish(shard, sums, extra);
  return extra.of_groups;
}

void declare_table_fit(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  costs.memory(MemoryKind::embeddings, at.matrix_bytes());
  costs.memory(MemoryKind::evaluation,
               4 * at.matrix_bytes() + 2 * at.halo_received() * at.row_bytes());
  costs.copied_bytes(at.matrix_bytes());
  if (shape.config.kind == ModelKind::ials) ImplicitAls::declare(shape, at, costs);
  DenseInputs::declare(at, costs, /*loss_parts=*/shape.config.kind == ModelKind::ials ? 2 : 0);
}

}  // namespace micrec
