#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "cluster/self_communicator.h"
#include "graph/sharded_graph.h"

// The graphs that benchmarks of neighbour sums run over, and what both benchmarks say of a sum.
namespace micrec {

struct Edges {
  std::int64_t users = 0;
  std::int64_t items = 0;
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
};

/// Lines "user item item ...", as LightGCN publishes gowalla.
inline Edges read_edges(const char* path) {
  Edges edges;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::int32_t user, item;
    if (!(words >> user)) continue;
    edges.users = std::max<std::int64_t>(edges.users, user + 1);
    while (words >> item) {
      edges.pairs.push_back({user, item});
      edges.items = std::max<std::int64_t>(edges.items, item + 1);
    }
  }
  return edges;
}

/// Made up and skewed, of gowalla's size.
inline Edges made_up_edges() {
  Edges edges{29858, 40981, {}};
  const Random random(1, Purpose::synthetic);
  for (std::uint64_t e = 0; e < 850000; ++e) {
    const auto skewed = [&](std::int64_t size, std::uint32_t draw) {
      return static_cast<std::int32_t>(static_cast<double>(size) *
                                       std::pow(random.uniform(e, draw), 2.0));
    };
    edges.pairs.push_back({skewed(edges.users, 0), skewed(edges.items, 1)});
  }
  return edges;
}

/// Users, then items, each with its neighbours rising; a pair that comes twice counts once.
inline Lists<GlobalNode> graph_of(Edges edges) {
  std::sort(edges.pairs.begin(), edges.pairs.end());
  edges.pairs.erase(std::unique(edges.pairs.begin(), edges.pairs.end()), edges.pairs.end());
  std::vector<std::vector<GlobalNode>> lists(edges.users + edges.items);
  for (const auto& [user, item] : edges.pairs) {
    const auto item_node = static_cast<std::int32_t>(edges.users + item);
    lists[user].push_back(GlobalNode(item_node));
    lists[item_node].push_back(GlobalNode(user));
  }
  Lists<GlobalNode> graph;
  for (const auto& list : lists) graph.add(list);
  return graph;
}

/// One rank's sum of neighbours over a graph of lines "user item item ...", or a made-up one.
class SumOverGraph {
 public:
  explicit SumOverGraph(const char* path)
      : lists_(graph_of(path ? read_edges(path) : made_up_edges())),
        ownership_{1, std::vector<std::int32_t>(lists_.size(), 0)},
        graph_(ownership_, lists_, communicator_) {}

  std::int64_t nodes() const { return lists_.size(); }
  SelfCommunicator& communicator() { return communicator_; }
  const Ownership& ownership() const { return ownership_; }
  const ShardedGraph& graph() const { return graph_; }
  const Pattern& pattern() const { return graph_.pattern(); }

  /// What a sum would read and write if nothing stayed in a cache: for every nonzero a column
  /// number and a row of x, and every row of the result.
  double bytes(std::int64_t dim) const {
    const double row_bytes = static_cast<double>(dim) * 4;
    return static_cast<double>(pattern().nonzeros()) * (row_bytes + 4) +
           static_cast<double>(nodes()) * row_bytes;
  }

  /// The same matrix as LibTorch's own.
  at::Tensor torch_csr(c10::Device device) const {
    const Pattern& sparse = pattern();
    const at::Tensor offsets =
        at::from_blob(const_cast<std::int64_t*>(sparse.offsets.data()), {nodes() + 1}, at::kLong)
            .to(device, at::kInt);
    const at::Tensor columns = at::from_blob(const_cast<std::int32_t*>(sparse.columns.data()),
                                             {sparse.nonzeros()}, at::kInt)
                                   .to(device);
    return at::sparse_csr_tensor(offsets, columns, at::ones({sparse.nonzeros()}, device),
                                 {nodes(), nodes()}, at::TensorOptions(device));
  }

 private:
  SelfCommunicator communicator_;
  Lists<GlobalNode> lists_;
  Ownership ownership_;
  ShardedGraph graph_;
};

}  // namespace micrec
