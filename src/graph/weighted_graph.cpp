#include "graph/weighted_graph.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <bit>

namespace micrec {

WeightedGraph::WeightedGraph(const Ownership& ownership, const Lists<GlobalNode>& rows,
                             const std::vector<float>& weights, Communicator& communicator)
    : forward_{ShardedGraph(ownership, rows, communicator), at::tensor(weights)},
      backward_(transposed(ownership, forward_.graph, rows, weights, communicator)) {
  CHECK_EQ(weights.size(), rows.values.size());
}

void WeightedGraph::move_to(c10::Device device) {
  forward_.weights = forward_.weights.to(device);
  backward_.weights = backward_.weights.to(device);
}

WeightedGraph::Half WeightedGraph::transposed(const Ownership& ownership, const ShardedGraph& graph,
                                              const Lists<GlobalNode>& rows,
                                              const std::vector<float>& weights,
                                              Communicator& communicator) {
  // Three numbers a nonzero, to the owner of its column: column, row, bits of the weight. Each rank
  // sends its rows in rising order.
  std::vector<std::vector<std::int32_t>> sent(communicator.size());
  const Pattern& pattern = graph.pattern();
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    for (std::int64_t i = pattern.begin(row); i < pattern.end(row); ++i) {
      const std::int32_t column = value(rows.values[i]);
      sent[ownership.owner[column]].insert(
          sent[ownership.owner[column]].end(),
          {column, value(graph.owned()[row]), std::bit_cast<std::int32_t>(weights[i])});
    }
  }
  const std::vector<std::vector<std::int32_t>> received =
      exchange_lists(communicator, "knn.transpose", sent);

  struct Nonzero {
    std::int32_t column, row, weight;
    auto operator<=>(const Nonzero&) const = default;
  };
  std::vector<Nonzero> nonzeros;
  for (const std::vector<std::int32_t>& list : received) {
    for (std::size_t i = 0; i < list.size(); i += 3) {
      nonzeros.push_back({list[i], list[i + 1], list[i + 2]});
    }
  }
  std::sort(nonzeros.begin(), nonzeros.end());

  Lists<GlobalNode> columns;
  std::vector<float> column_weights;
  auto next = nonzeros.begin();
  for (const GlobalNode node : graph.owned()) {
    for (; next != nonzeros.end() && next->column == value(node); ++next) {
      columns.values.push_back(GlobalNode(next->row));
      column_weights.push_back(std::bit_cast<float>(next->weight));
    }
    columns.offsets.push_back(std::ssize(columns.values));
  }
  return {ShardedGraph(ownership, columns, communicator), at::tensor(column_weights)};
}

}  // namespace micrec
