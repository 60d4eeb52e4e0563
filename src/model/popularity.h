#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/pattern.h"
#include "model/column_sums.h"
#include "model/table_fit.h"

namespace micrec {

/// Ranks items by how many interactions training has of them, the same for everybody: rows of one
/// column, 1 for a user and the number for an item. An item that training did not see counts what
/// is observed of it at inference. Its only step counts.
class Popularity : public TableFit {
 public:
  Popularity(const PartInputs& inputs, TemplateEmbedding& embedding);

  void initialise() override;
  StepLoss step(at::Tensor& votes) override;
  void infer_new(at::Tensor& rows) const override;
  RowsOfNew rows_of_new() const override;

 private:
  at::Tensor is_user() const;  // (owned rows, 1)

  const Shard& shard_;
  TemplateEmbedding& embedding_;
  ColumnSums sums_;
};

}  // namespace micrec
