#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/pattern.h"
#include "kernels/row_set.h"
#include "model/solved/table_fit.h"
#include "model/step/column_sums.h"
#include "partition/node_space.h"

namespace micrec {

/// Implicit ALS, in each domain by itself: rows p_u and q_i that minimise
///
///   sum over interactions of (1 - <p_u, q_i>)^2 + a sum over all pairs of <p_u, q_i>^2
///     + sum over u of l (|N(u)| + a I) |p_u|^2 + sum over i of l (|N(i)| + a U) |q_i|^2
///
/// with I items and U users that training has seen, a = ials_weight and l = ials_reg. A step solves
/// for all users with the items held, then for all items, each exactly.
///
/// The sum over all pairs needs only the Gram matrix of the other side. In the basis of its
/// eigenvectors what all rows of a side share is diagonal, whatever a row's own penalty, and a row
/// of few interactions then takes a system of their number, not of `dim` (implicit_rows.h).
///
/// A node that training did not see gets its row by its own problem, from trained rows.
/// Source   Hu, Koren and Volinsky 2008; Rendle, Krichene, Zhang and Koren 2022 (arXiv:2110.14037)
///          for the weights and the penalty.
class ImplicitAls : public TableFit {
 public:
  ImplicitAls(const PartInputs& inputs, TemplateEmbedding& embedding);

  void initialise() override;
  StepLoss step(at::Tensor& votes) override;
  void infer_new(at::Tensor& rows) const override;
  RowsOfNew rows_of_new() const override;

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  enum class Side { users, items };
  static Side other(Side side) { return side == Side::users ? Side::items : Side::users; }

  /// What all rows of the other side share, as its basis has it.
  struct Basis {
    at::Tensor vectors;          // (dim, dim) rows
    std::vector<double> shared;  // (dim) a times the Gram matrix's eigenvalues
  };
  /// Rows of one side of all domains, in the bases of their domains.
  struct SideRows {
    RowSet columns;  // of local rows
    at::Tensor z;    // (columns.size(), dim) float32
  };

  Range owned_of(Side side, int domain) const;  // owned rows
  const at::Tensor& table() const { return embedding_.table(); }
  std::vector<Basis> bases_of(Side side) const;                        // collective
  SideRows rows_of(Side side, const std::vector<Basis>& bases) const;  // collective
  at::Tensor solve(const Pattern& pattern, std::vector<std::int64_t> rows, const SideRows& others,
                   const Basis& basis, Side side, int domain, std::vector<double>* misfit) const;
  void update(Side side, std::vector<double>& misfit);  // of owned rows; collective
  double penalty(Side side, int domain, double degree) const;
  StepLoss loss_of(const std::vector<double>& misfit, at::Tensor& votes) const;

  const ModelConfig& config_;
  const Shard& shard_;
  TemplateEmbedding& embedding_;
  const ColumnSums& sums_;
  std::vector<double> users_;  // (domains) that training has seen
  std::vector<double> items_;
};

}  // namespace micrec
