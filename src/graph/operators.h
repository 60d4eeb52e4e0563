#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "graph/row_exchange.h"
#include "graph/sharded_graph.h"
#include "graph/weighted_graph.h"
#include "kernels/neighbour_sum.h"
#include "kernels/selected_rows.h"

namespace micrec {

// The differentiable operators of the model. All are linear, so the backward pass applies the
// transpose, which for a symmetric pattern is the same kernel with the scalings exchanged; nothing
// is stored for it.
//
// Where an operator is collective its backward pass is too: every rank must build the same autograd
// graph in the same order, empty shares included, and call backward on it. Graphs and communicators
// must outlive the backward pass. Gradients of gradients are not supported.

/// The token that template_sum adds to each of its rows.
struct RowTokens {
  at::Tensor tokens;              // (groups, kinds, dim) float32
  at::Tensor of_row;              // (owned_rows) int32, of the groups * kinds tokens
  at::Tensor weight;              // (owned_rows) float32
  const Pattern* rows = nullptr;  // (groups * kinds) the rows of each: gathered_from(of_row)
};

struct TemplateSum {
  at::Tensor rows;       // (owned_rows, dim) float32
  at::Tensor templates;  // (table_rows, dim) float32: these rows of the table itself
};

/// The sums of template rows, y = diag(s) B diag(t) table + weight * token, with nonzeros dropped
/// by `dropout`; B symmetric. Beside them the rows of the table that something else reads, so that
/// their gradient is added in the transposed sum.
///
/// Shapes   table: (owned_rows, dim) float32; row_scale s, template_mask t: (local_rows) float32, t
///          undefined = ones; tokens: null: none; table_rows: owned local rows, null: none.
/// Ranks    collective, one halo exchange each way.
/// Source   INMO (Wu et al. 2022, arXiv:2107.05247), the inductive embedding module.
TemplateSum template_sum(const ShardedGraph& graph, const at::Tensor& table,
                         const at::Tensor& row_scale, const at::Tensor& template_mask,
                         EdgeDropout dropout, const RowTokens* tokens = nullptr,
                         const std::shared_ptr<const SelectedRows>& table_rows = nullptr);

/// The mean of E^(0) .. E^(layers), where E^(l) = A E^(l-1) and A = diag(q) B diag(q), for the rows
/// wanted.
///
/// Shapes   e: (owned_rows, dim) float32; inverse_sqrt_degree q: (local_rows) float32; rows: those
///          of plan_active(), or nullptr for all; inverse_degree: q^2, undefined where it is not
///          kept; returns (rows, dim) float32.
/// Ranks    collective, `layers` halo exchanges each way (the first backward one only of rows that
///          have a gradient).
/// Cost     No layer is stored. The last product reads only the neighbours of `rows`, the first
///          backward one only `rows` themselves.
/// Source   LightGCN (He et al. 2020, arXiv:2002.02126), equations 3 and 4, by Horner's rule.
at::Tensor propagate(const ShardedGraph& graph, const at::Tensor& e,
                     const at::Tensor& inverse_sqrt_degree, int layers,
                     const std::shared_ptr<const ActiveRows>& rows,
                     const at::Tensor& inverse_degree = {});

/// Whether its first backward product goes along the lists of `rows` turned round, as a CPU does
/// where one rank has all rows: these have so many nonzeros, and several threads share going
/// through all.
bool is_worth_turning(double nonzeros, double all);

/// The sum of E^(0) .. E^(layers - 1) of all owned rows, without gradient: what a node added to the
/// trained graph afterwards reads from its neighbours, E_new + q_new * sum_c q_c * this_c, all over
/// layers + 1. layers >= 1.
///
/// Shapes   as propagate; returns (owned_rows, dim) float32.
/// Ranks    collective, layers - 1 halo exchanges.
at::Tensor propagate_before_last(const ShardedGraph& graph, const at::Tensor& e,
                                 const at::Tensor& inverse_sqrt_degree, int layers);

/// y = S x for an operator with weights of its own.
///
/// Shapes   x: (owned_rows, dim) float32; returns the same.
/// Ranks    collective, one halo exchange each way.
at::Tensor weighted_sum(const WeightedGraph& graph, const at::Tensor& x);

/// One row for each entry of the list this rank needs, in its order. Gradients of repeated entries
/// are added in list order, go home, and are added there in rank order; with an order of the
/// entries (see RowExchange), all of them go home and are added in that order.
///
/// Shapes   rows_of_owner: (exchange.requested_rows().size(), dim) float32, in that order; returns
///          (exchange.needed(), dim).
/// Ranks    collective, one exchange each way (none with one rank).
at::Tensor fetch(const RowExchange& exchange, const char* name, const at::Tensor& rows_of_owner);

/// Rows that are taken of `count`, in any order, and the way back of their gradients. Copies share
/// both.
struct TakenRows {
  RowList rows;
  std::shared_ptr<const Pattern> back;  // (count) the places of each row among them

  /// Each of `indices` in [0, count).
  TakenRows(RowList indices, std::int64_t count);
  void add_to(UploadBatch& batch) const;
};

/// The rows of x named by `indices`, in their order; gradients of repeated rows are added in that
/// order.
///
/// Shapes   x: (rows, dim) float32; indices: (n), each in [0, rows); returns (n, dim).
/// Ranks    local.
at::Tensor take_rows(const at::Tensor& x, const TakenRows& taken);
at::Tensor take_rows(const at::Tensor& x, const std::vector<std::int32_t>& indices);

}  // namespace micrec
