#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/step/column_sums.h"
#include "model/step/parameter.h"
#include "model/step/shard.h"
#include "partition/planning/step_costs.h"

namespace micrec {

/// The parameters that every row part has, as the row functions of one step read them: a leaf of
/// copies, one a group of rows whose gradient is summed apart, and afterwards the sums over groups,
/// ranks and, for numbers that all columns share, over columns.
///
/// Two sorts: a parameter that has this rank's columns, and a table of scalars that was computed
/// from small parameters the same on all ranks (by autograd, with any function).
class DenseInputs {
 public:
  /// Both outlive it.
  DenseInputs(const Shard& shard, const ColumnSums& sums) : shard_(shard), sums_(sums) {}

  /// The same leaf for every use in the step. Shapes   returns (groups, value's shape), a vector as
  /// one row: (groups, 1, width); groups are Shard::summands().
  at::Tensor parameter(Parameter& parameter);
  /// Shapes   scalars: (entries) float32; returns (groups, entries, width), or on another device
  ///          than the
  /// CPU (1, entries, 1).
  at::Tensor table(const at::Tensor& scalars);

  /// Numbers that are summed in the same exchanges.
  struct Extra {
    at::Tensor of_groups;  // (groups, n) float64, once a row part: in, this rank's; out, (n) sums
    at::Tensor of_ranks;  // (m) float64: in, this rank's; out, the sums over all ranks of the world
  };

  /// After backward(): sets grad() of the parameters to the gradient over all ranks and takes the
  /// tables' gradients back to what they were computed from. Ranks: collective, one exchange in the
  /// row group and, where there are column parts, one in the column group. All ranks have made the
  /// same inputs in the same order. All is summed where `extra` is, which has the inputs beside it
  /// where there are any: on a GPU, that no host waits for it.
  void finish(Extra& extra);

  /// Those exchanges, and that an input of this many rows takes part in them, or a table.
  /// `of_groups`, `of_ranks`: how many numbers of Extra there are, the votes left out.
  static void declare(const RankPlace& at, StepCosts& costs, double of_groups, double of_ranks);
  static void declare_parameter(const RankPlace& at, double rows, StepCosts& costs);
  static void declare_table(const RankPlace& at, double entries, StepCosts& costs);

 private:
  struct Input {
    at::Tensor leaf;
    Parameter* parameter = nullptr;
    at::Tensor scalars;  // where it is a table
    std::int64_t size = 0;
  };
  /// Totals of an exchange, apart by input: gradients of parameters, and of tables what is summed
  /// over the columns.
  struct Totals {
    std::vector<at::Tensor> of_inputs;  // each (size) or (entries)
    Extra extra;
  };
  Totals taken_apart(const at::Tensor& all, const Extra& extra) const;
  Totals summed_here(const Extra& extra) const;
  Totals summed_on_device(const Extra& extra) const;
  void finish_columns(Totals& totals) const;
  void give(const std::vector<at::Tensor>& of_inputs) const;
  at::Tensor add(const at::Tensor& value, Parameter* parameter, const at::Tensor& scalars);
  at::Tensor summands(const Extra& extra) const;

  const Shard& shard_;
  const ColumnSums& sums_;
  std::vector<Input> inputs_;
};

}  // namespace micrec
