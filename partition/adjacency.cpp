#include "partition/adjacency.h"

#include <glog/logging.h>

namespace micrec {

AdjacencyBuilder::AdjacencyBuilder(std::int64_t nodes) {
  graph_.offsets.assign(static_cast<std::size_t>(nodes) + 1, 0);
}

void AdjacencyBuilder::count(GlobalNode user, GlobalNode item) {
  CHECK(!adding_);
  ++graph_.offsets[value(user) + 1];
  ++graph_.offsets[value(item) + 1];
}

void AdjacencyBuilder::add(GlobalNode user, GlobalNode item) {
  if (!adding_) {
    for (std::size_t n = 1; n < graph_.offsets.size(); ++n) {
      graph_.offsets[n] += graph_.offsets[n - 1];
    }
    next_.assign(graph_.offsets.begin(), graph_.offsets.end() - 1);
    graph_.columns.resize(static_cast<std::size_t>(graph_.offsets.back()));
    adding_ = true;
  }
  CHECK_LT(next_[value(user)], graph_.offsets[value(user) + 1]);
  CHECK_LT(next_[value(item)], graph_.offsets[value(item) + 1]);
  graph_.columns[next_[value(user)]++] = value(item);
  graph_.columns[next_[value(item)]++] = value(user);
}

Adjacency AdjacencyBuilder::finish() {
  for (std::int64_t node = 0; adding_ && node < graph_.nodes(); ++node) {
    CHECK_EQ(next_[node], graph_.offsets[node + 1]) << "the second pass saw less than the first";
  }
  CHECK_EQ(static_cast<std::int64_t>(graph_.columns.size()), adding_ ? graph_.nonzeros() : 0);
  next_.clear();
  return std::move(graph_);
}

Adjacency transposed(const Adjacency& graph) {
  Adjacency result;
  result.offsets.assign(graph.offsets.size(), 0);
  for (const std::int32_t column : graph.columns) {
    CHECK(column >= 0 && column < graph.nodes());
    ++result.offsets[column + 1];
  }
  for (std::size_t n = 1; n < result.offsets.size(); ++n)
    result.offsets[n] += result.offsets[n - 1];
  result.columns.resize(graph.columns.size());
  std::vector<std::int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    for (std::int64_t i = graph.offsets[node]; i < graph.offsets[node + 1]; ++i) {
      result.columns[next[graph.columns[i]]++] = static_cast<std::int32_t>(node);
    }
  }
  return result;
}

}  // namespace micrec
