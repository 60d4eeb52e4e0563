#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "model/model_part.h"
#include "model/step/column_sums.h"
#include "model/step/step_context.h"
#include "model/template_embedding.h"

namespace micrec {

/// How a kind without gradients makes its table, the rows of TemplateEmbedding: a step is an epoch.
class TableFit {
 public:
  virtual ~TableFit() = default;
  /// The table before the first step. Ranks: local.
  virtual void initialise() = 0;
  /// Computes the table anew and returns the loss; `votes` as in Model::backward(). Ranks:
  /// collective.
  virtual StepLoss step(at::Tensor& votes) = 0;
  /// Fills in what follows from their interactions for nodes that training did not see; those
  /// without any are left as they are. Shapes   rows: (owned rows, dim). Ranks: collective.
  virtual void infer_new(at::Tensor& rows) const = 0;
  /// Of people who join later. Ranks: one alone.
  virtual RowsOfNew rows_of_new() const = 0;
};

/// That of the kind in `inputs`; none where it descends by gradients.
std::unique_ptr<TableFit> make_table_fit(const PartInputs& inputs, TemplateEmbedding& embedding);

/// Sums, of what a step's loss is reported in, over all summands and ranks, and the votes with
/// them: the exchange of Model::backward(). Shapes   of_summands: (summands of this rank, n)
/// float64; returns (n). Ranks: collective.
at::Tensor sum_over_ranks(const Shard& shard, const ColumnSums& sums, const at::Tensor& of_summands,
                          at::Tensor& votes);

/// What an epoch of it makes a rank send, hold and do.
void declare_table_fit(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

}  // namespace micrec
