#include "graph/weighted_graph.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <bit>

namespace micrec {

WeightedGraph::WeightedGraph(const Ownership& ownership, const std::vector<std::int64_t>& offsets,
                             const std::vector<GlobalNode>& neighbours,
                             const std::vector<float>& weights, Communicator& communicator)
    : forward_{ShardedGraph(ownership, offsets, neighbours, communicator), at::tensor(weights)},
      backward_(transposed(ownership, forward_.graph, neighbours, weights, communicator)) {
  CHECK_EQ(weights.size(), neighbours.size());
}

void WeightedGraph::move_to(c10::Device device) {
  forward_.weights = forward_.weights.to(device);
  backward_.weights = backward_.weights.to(device);
}

WeightedGraph::Half WeightedGraph::transposed(const Ownership& ownership, const ShardedGraph& graph,
                                              const std::vector<GlobalNode>& neighbours,
                                              const std::vector<float>& weights,
                                              Communicator& communicator) {
  // Three numbers a nonzero, to the owner of its column: column, row, bits of the weight. Each rank
  // sends its rows in rising order.
  std::vector<std::vector<std::int32_t>> sent(communicator.size());
  const Pattern& pattern = graph.pattern();
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    for (std::int64_t i = pattern.begin(row); i < pattern.end(row); ++i) {
      const std::int32_t column = value(neighbours[i]);
      sent[ownership.owner[column]].insert(
          sent[ownership.owner[column]].end(),
          {column, value(graph.owned()[row]), std::bit_cast<std::int32_t>(weights[i])});
    }
  }
  const std::vector<std::vector<std::int32_t>> received =
      exchange_lists(communicator, "knn.transpose", sent);

  struct Nonzero {
    std::int32_t column, row, weight;
    bool operator<(const Nonzero& other) const {
      return column != other.column ? column < other.column : row < other.row;
    }
  };
  std::vector<Nonzero> nonzeros;
  for (const std::vector<std::int32_t>& list : received) {
    for (std::size_t i = 0; i < list.size(); i += 3) {
      nonzeros.push_back({list[i], list[i + 1], list[i + 2]});
    }
  }
  std::sort(nonzeros.begin(), nonzeros.end());

  const std::vector<GlobalNode>& owned = graph.owned();
  std::vector<std::int64_t> offsets = {0};
  std::vector<GlobalNode> rows(nonzeros.size());
  std::vector<float> row_weights(nonzeros.size());
  std::size_t next = 0;
  for (const GlobalNode node : owned) {
    for (; next < nonzeros.size() && nonzeros[next].column == value(node); ++next) {
      rows[next] = GlobalNode(nonzeros[next].row);
      row_weights[next] = std::bit_cast<float>(nonzeros[next].weight);
    }
    offsets.push_back(static_cast<std::int64_t>(next));
  }
  return {ShardedGraph(ownership, offsets, rows, communicator), at::tensor(row_weights)};
}

}  // namespace micrec
