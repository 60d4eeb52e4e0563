#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/pattern.h"
#include "model/solved/table_fit.h"
#include "model/step/column_sums.h"

namespace micrec {

/// Rows of one column that nothing is learned of. Of popularity 1 for a user and the number of
/// training interactions for an item, which ranks items alike for everybody; an item that training
/// did not see counts what is observed of it at inference. Of item regression alone, a kind without
/// embeddings, zeros. Its only step counts.
class OneColumn : public TableFit {
 public:
  OneColumn(const PartInputs& inputs, TemplateEmbedding& embedding);

  void initialise() override;
  StepLoss step(at::Tensor& votes) override;
  void infer_new(at::Tensor& rows) const override;
  RowsOfNew rows_of_new() const override;

 private:
  at::Tensor is_user() const;  // (owned rows, 1)

  const Shard& shard_;
  TemplateEmbedding& embedding_;
  const ColumnSums& sums_;
  bool counts_;
};

}  // namespace micrec
