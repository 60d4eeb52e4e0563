#include "graph/operators.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "base/parallel.h"
#include "graph/linear_operator.h"
#include "kernels/neighbour_sum_call.h"
#include "kernels/rows.h"

namespace micrec {
namespace {

const std::vector<GlobalNode>* numbers_for_dropout(const ShardedGraph& graph,
                                                   const EdgeDropout& dropout) {
  const bool same = graph.communicator().size() == 1;
  return dropout.probability > 0 && !same ? &graph.local_to_global() : nullptr;
}

// The rows of all owned nodes, or of options.rows.
at::Tensor owned_sum(const ShardedGraph& graph, const at::Tensor& x, const SumOptions& options) {
  if (options.rows) return neighbour_sum(graph.pattern(), x, options);
  // In memory of an earlier one; detached, so that autograd sees no view.
  at::Tensor y =
      graph.local_buffer(x.size(1), x.options()).narrow(0, 0, graph.owned_rows()).detach();
  neighbour_sum_into(y, graph.pattern(), x, options);
  return y;
}

// diag(row) B diag(column) x + what `horner` adds, whichever way round.
at::Tensor scaled_sum(const ShardedGraph& graph, const char* name, const at::Tensor& x,
                      const Scaling& scaling, const EdgeDropout& dropout, const Horner& horner) {
  SumOptions options;
  options.scaling = scaling;
  options.dropout = dropout;
  options.horner = horner;
  options.local_to_global = numbers_for_dropout(graph, dropout);
  return owned_sum(graph, graph.with_halo(name, x), options);
}

// What the rows of a symmetric pattern have of the given columns alone, as positions among them:
// the lists of these turned round, in the same order.
Pattern turned(const Pattern& symmetric, const std::vector<std::int32_t>& columns) {
  constexpr std::size_t kListsAhead = 8;
  const auto each = [&](const auto& use) {
    for (std::size_t position = 0; position < columns.size(); ++position) {
      const std::size_t ahead = std::min(position + kListsAhead, columns.size() - 1);
      __builtin_prefetch(symmetric.columns.data() + symmetric.begin(columns[ahead]));
      const std::int64_t end = symmetric.end(columns[position]);
      for (std::int64_t i = symmetric.begin(columns[position]); i < end; ++i) {
        use(symmetric.columns[i], static_cast<std::int32_t>(position));
      }
    }
  };
  std::vector<std::int32_t> next(symmetric.rows(), 0);  // of each row how many, then where the next
  each([&](std::int32_t row, std::int32_t) { ++next[row]; });
  Pattern result;
  result.offsets.resize(symmetric.rows() + 1);
  for (std::int64_t row = 0; row < symmetric.rows(); ++row) {
    result.offsets[row + 1] = result.offsets[row] + next[row];
    next[row] = static_cast<std::int32_t>(result.offsets[row]);
  }
  result.columns.resize(result.nonzeros());
  each([&](std::int32_t row, std::int32_t position) { result.columns[next[row]++] = position; });
  return result;
}

bool goes_along_lists(const ShardedGraph& graph, const SelectedRows& columns) {
  const Pattern& pattern = graph.pattern();
  if (graph.communicator().size() > 1 || pattern.nonzeros() > std::numeric_limits<int>::max()) {
    return false;
  }
  std::int64_t nonzeros = 0;
  for (const std::int32_t column : columns.list.rows()) nonzeros += pattern.degree(column);
  return is_worth_turning(static_cast<double>(nonzeros), static_cast<double>(pattern.nonzeros()));
}

// y = the first product of horner(), of an x that has the rows `active` alone; `options` say the
// rest.
void sum_of_active(const ShardedGraph& graph, at::Tensor& y, const at::Tensor& x,
                   const SelectedRows& active, const SumOptions& options) {
  const Pattern& pattern = graph.pattern();
  SumOptions of_turned = options;
  of_turned.active_columns = nullptr;
  of_turned.scaling.column = gather_rows(options.scaling.column, active.list);
  neighbour_sum_into(y, turned(pattern, active.list.rows()), x, of_turned);
  // Hubs are summed in pieces, which are cut by all of their nonzeros.
  std::vector<std::int32_t> hubs;
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    if (pattern.degree(row) > kHubChunk) hubs.push_back(static_cast<std::int32_t>(row));
  }
  if (hubs.empty()) return;
  const RowList rows(std::move(hubs));
  SumOptions of_hubs = options;
  of_hubs.range.reset();
  of_hubs.rows = &rows;
  y.index_copy_(0, at::tensor(rows.rows(), at::kLong), neighbour_sum(pattern, x, of_hubs));
}

// The sum of A^0 x .. A^layers x times `factor`, layers >= 1, where x may be zero outside `active`
// rows (and then has only these).
//
// Between the first product and the last the rows are kept multiplied by q, so that the products in
// between are plain sums of rows: z = q * y, z <- q^2 * (B z) + q * x.
at::Tensor horner(const ShardedGraph& graph, const at::Tensor& x, const ActiveRows* active,
                  const at::Tensor& q, const at::Tensor& kept_square, int layers,
                  const SelectedRows* rows, float factor) {
  CHECK_GE(layers, 1);
  CHECK_EQ(q.size(0), graph.local_rows());
  const at::Tensor scale = q.contiguous();
  const at::Tensor squared =
      layers == 1 || kept_square.defined() ? kept_square : at::mul(scale, scale);
  at::Tensor y;
  SumOptions options;
  options.scaling = {{}, scale, false};
  options.horner.addend = x;
  if (active) {
    y = graph.with_active_halo("halo.propagate.active", *active, x);
    options.active_columns = &active->columns();
    options.horner.addend_rows = &active->owned->set;
  } else {
    y = graph.with_halo("halo.propagate", x);
  }
  const bool is_turned = active && x.is_cpu() && goes_along_lists(graph, *active->owned);
  for (int layer = 1; layer < layers; ++layer) {
    options.scaling.row = squared;
    options.horner.scale = scale;
    // The rows of a part travel while the next is computed; each row is a sum as ever.
    at::Tensor next = graph.local_buffer(x.size(1), x.options());
    ShardedGraph::Flight halo = graph.start_halo("halo.propagate", next);
    options.meanwhile = [&halo] { halo.poll(); };
    for (int part = 0; part < graph.parts(); ++part) {
      options.range = graph.rows_of_part(part);
      if (is_turned && layer == 1) {
        sum_of_active(graph, next, y, *active->owned, options);
      } else {
        neighbour_sum_into(next, graph.pattern(), y, options);
      }
      halo.send(part);
    }
    halo.wait();
    options.range.reset();
    options.meanwhile = nullptr;
    y = std::move(next);
    options.scaling.column = at::Tensor();
    options.active_columns = nullptr;
  }
  options.scaling.row = scale;
  options.horner.scale = at::Tensor();
  options.horner.factor = factor;
  if (rows) options.rows = &rows->list;
  return owned_sum(graph, y, options);
}

void check_indices(const std::vector<std::int32_t>& indices, std::int64_t rows) {
  for (const std::int32_t index : indices) {
    CHECK(index >= 0 && index < rows) << "row " << index << " of " << rows;
  }
}

}  // namespace

bool is_worth_turning(double nonzeros, double all) {
  return 2 * compute_threads() * nonzeros < all;
}

TemplateSum template_sum(const ShardedGraph& graph, const at::Tensor& table,
                         const at::Tensor& row_scale, const at::Tensor& template_mask,
                         EdgeDropout dropout, const RowTokens* tokens,
                         const std::shared_ptr<const SelectedRows>& table_rows) {
  const at::Tensor values = table.detach().contiguous();
  Horner token;
  if (tokens) {
    token.addend = tokens->tokens.detach().reshape({-1, table.size(1)}).contiguous();
    token.scale = tokens->weight;
    token.addend_of = tokens->of_row;
  }
  std::vector<at::Tensor> results = {
      scaled_sum(graph, "halo.template", values, {row_scale, template_mask, true}, dropout, token)};
  if (table_rows) results.push_back(gather_rows(values, table_rows->list));
  dropout.transposed = !dropout.transposed;
  std::vector<JointInput> inputs;
  inputs.push_back({table, [&graph, row_scale, template_mask, dropout,
                            table_rows](const std::vector<at::Tensor>& gradients) {
                      Horner of_rows;
                      if (table_rows) {
                        of_rows.addend = gradients[1];
                        of_rows.addend_rows = &table_rows->set;
                      }
                      return scaled_sum(graph, "halo.template.backward", gradients[0],
                                        {template_mask, row_scale, false}, dropout, of_rows);
                    }});
  if (tokens) {
    inputs.push_back(
        {tokens->tokens, [shape = tokens->tokens.sizes().vec(), rows = tokens->rows,
                          weight = tokens->weight](const std::vector<at::Tensor>& gradients) {
           SumOptions options;
           options.scaling = {{}, weight, false};
           return neighbour_sum(*rows, gradients[0], options).view(shape);
         }});
  }
  results = with_joint_transposes("template_sum", std::move(results), std::move(inputs));
  return {results.front(), table_rows ? results.back() : at::Tensor()};
}

at::Tensor propagate(const ShardedGraph& graph, const at::Tensor& e,
                     const at::Tensor& inverse_sqrt_degree, int layers,
                     const std::shared_ptr<const ActiveRows>& rows,
                     const at::Tensor& inverse_degree) {
  CHECK_GE(layers, 0);
  CHECK_EQ(e.size(0), graph.owned_rows());
  if (layers == 0) return rows ? take_rows(e, rows->owned->list.rows()) : e;
  const float factor = 1.0F / static_cast<float>(layers + 1);
  const at::Tensor y = horner(graph, e.detach().contiguous(), nullptr, inverse_sqrt_degree,
                              inverse_degree, layers, rows ? rows->owned.get() : nullptr, factor);
  return with_transpose(
      "propagate", e, y,
      [&graph, rows, inverse_sqrt_degree, inverse_degree, layers, factor](const at::Tensor& g) {
        return horner(graph, g, rows.get(), inverse_sqrt_degree, inverse_degree, layers, nullptr,
                      factor);
      });
}

at::Tensor propagate_before_last(const ShardedGraph& graph, const at::Tensor& e,
                                 const at::Tensor& inverse_sqrt_degree, int layers) {
  CHECK_GE(layers, 1);
  if (layers == 1) return e.detach();
  return horner(graph, e.detach().contiguous(), nullptr, inverse_sqrt_degree, {}, layers - 1,
                nullptr, 1);
}

at::Tensor weighted_sum(const WeightedGraph& graph, const at::Tensor& x) {
  const auto product = [](const ShardedGraph& half, const char* name, const at::Tensor& weights,
                          const at::Tensor& factor) {
    SumOptions options;
    options.edge_weights = weights;
    return neighbour_sum(half.pattern(), half.with_halo(name, factor), options);
  };
  const at::Tensor y =
      product(graph.graph(), "halo.weighted", graph.weights(), x.detach().contiguous());
  return with_transpose("weighted_sum", x, y, [&graph, product](const at::Tensor& g) {
    return product(graph.transpose(), "halo.weighted.backward", graph.transpose_weights(), g);
  });
}

at::Tensor fetch(const RowExchange& exchange, const char* name, const at::Tensor& rows_of_owner) {
  const std::shared_ptr<const RowExchange::Plan>& plan = exchange.plan();
  CHECK_EQ(rows_of_owner.size(0), static_cast<std::int64_t>(plan->requested_rows.size()));
  const bool travels = plan->communicator->size() > 1;
  at::Tensor received = rows_of_owner.detach().contiguous();
  if (travels) {
    received = plan->communicator->all_to_all(name, gather_rows(received, plan->send_positions),
                                              plan->send_rows, plan->receive_rows);
  }
  const at::Tensor y = gather_rows(received, plan->entry_rows);
  return with_transpose("fetch", rows_of_owner, y, [plan, name, travels](const at::Tensor& g) {
    if (plan->by_entry) {
      const at::Tensor home =
          plan->communicator->all_to_all(name, gather_rows(g, plan->entries_by_owner),
                                         plan->entries_to_owner, plan->entries_from_rank);
      return neighbour_sum(plan->arrivals_of_row, home, {});
    }
    const at::Tensor sums = neighbour_sum(plan->entries_of_row, g, {});
    if (!travels) return sums;
    const at::Tensor home =
        plan->communicator->all_to_all(name, sums, plan->receive_rows, plan->send_rows);
    return neighbour_sum(plan->sends_of_row, home, {});
  });
}

TakenRows::TakenRows(RowList indices, std::int64_t count) : rows(std::move(indices)) {
  check_indices(rows.rows(), count);
  back = std::make_shared<const Pattern>(gathered_from(rows.rows(), count));
}

void TakenRows::add_to(UploadBatch& batch) const {
  batch.add(rows);
  add_pattern(*back, batch);
}

at::Tensor take_rows(const at::Tensor& x, const TakenRows& taken) {
  CHECK_EQ(x.size(0), taken.back->rows());
  at::Tensor y;
  {
    const at::NoGradGuard no_grad;
    y = gather_rows(x.contiguous(), taken.rows);
  }
  return with_transpose("take_rows", x, y, [back = taken.back](const at::Tensor& g) {
    return neighbour_sum(*back, g, {});
  });
}

at::Tensor take_rows(const at::Tensor& x, const std::vector<std::int32_t>& indices) {
  return take_rows(x, TakenRows(RowList(indices), x.size(0)));
}

}  // namespace micrec
