#include "partition/row_order.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "base/number_lists.h"

namespace micrec {
namespace {

// A cluster of the first level may have so many nodes, one of the next kGrowth times as many.
constexpr std::int64_t kFirstCluster = 1024;
constexpr std::int64_t kGrowth = 8;
constexpr int kRounds = 2;
constexpr std::int64_t kFewClusters = 8;

/// An undirected graph; without weights all are 1.
struct Graph {
  NumberLists edges;                  // of each node its neighbours, both ways
  std::vector<std::int64_t> weights;  // (edges) or none
  std::vector<std::int64_t> sizes;    // (nodes) of the nodes of the first graph in it

  std::int64_t nodes() const { return static_cast<std::int64_t>(sizes.size()); }
  std::int64_t weight(std::int64_t edge) const { return weights.empty() ? 1 : weights[edge]; }
};

/// Columns that are not rows get the rows that have them as neighbours.
Graph graph_of(const std::vector<std::int64_t>& offsets, const std::vector<std::int32_t>& columns,
               std::int64_t column_count) {
  const auto rows = static_cast<std::int64_t>(offsets.size()) - 1;
  Graph graph{{offsets, columns}, {}, std::vector<std::int64_t>(column_count, 1)};
  const auto rows_of = lists_of<std::int32_t>(column_count - rows, [&](const auto& use) {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        if (columns[i] >= rows) use(columns[i] - rows, static_cast<std::int32_t>(row));
      }
    }
  });
  for (std::int64_t list = 0; list < rows_of.size(); ++list) graph.edges.add(rows_of.of(list));
  return graph;
}

/// Adds up the weights of a node's edges by label.
class Votes {
 public:
  explicit Votes(std::int64_t labels) : votes_(labels, 0) {}

  void add(std::int32_t label, std::int64_t weight) {
    if (votes_[label] == 0) labels_.push_back(label);
    votes_[label] += weight;
  }
  const std::vector<std::int32_t>& labels() const { return labels_; }  // in the order of add()
  std::int64_t of(std::int32_t label) const { return votes_[label]; }
  void clear() {
    for (const std::int32_t label : labels_) votes_[label] = 0;
    labels_.clear();
  }

 private:
  std::vector<std::int64_t> votes_;
  std::vector<std::int32_t> labels_;
};

/// A label each node: in turn, those with few neighbours first, a node takes the label that most of
/// its neighbours have, if the cluster stays below `most`.
std::vector<std::int32_t> propagated_labels(const Graph& graph, std::int64_t most) {
  const auto& [offsets, neighbours] = graph.edges;
  std::vector<std::int32_t> label(graph.nodes());
  std::iota(label.begin(), label.end(), 0);
  std::vector<std::int64_t> size = graph.sizes;
  std::vector<std::int32_t> degree(graph.nodes());
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    degree[node] = static_cast<std::int32_t>(
        std::min<std::int64_t>(std::ssize(graph.edges.of(node)), graph.nodes()));
  }
  const std::vector<std::int32_t> turns = places_by_number(degree, graph.nodes() + 1).values;
  Votes votes(graph.nodes());
  for (int round = 0; round < kRounds; ++round) {
    std::int64_t moved = 0;
    for (const std::int32_t node : turns) {
      for (std::int64_t e = offsets[node]; e < offsets[node + 1]; ++e) {
        votes.add(label[neighbours[e]], graph.weight(e));
      }
      const std::int32_t own = label[node];
      std::int32_t best = own;
      for (const std::int32_t other : votes.labels()) {
        if (size[other] + graph.sizes[node] <= most && votes.of(other) > votes.of(best)) {
          best = other;
        }
      }
      votes.clear();
      if (best == own) continue;
      size[own] -= graph.sizes[node];
      size[best] += graph.sizes[node];
      label[node] = best;
      ++moved;
    }
    if (moved < graph.nodes() / 100) break;
  }
  return label;
}

/// The labels that are in use become 0, 1, ... in the order of their first node; returns how many.
std::int64_t number_labels(std::vector<std::int32_t>& label) {
  std::vector<std::int32_t> number(label.size(), -1);
  std::int32_t count = 0;
  for (std::int32_t& of_node : label) {
    if (number[of_node] < 0) number[of_node] = count++;
    of_node = number[of_node];
  }
  return count;
}

/// Clusters as nodes.
Graph contracted(const Graph& graph, const std::vector<std::int32_t>& cluster_of,
                 std::int64_t clusters) {
  const NumberLists members = places_by_number(cluster_of, clusters);
  const auto& [offsets, neighbours] = graph.edges;
  Graph result{{}, {}, std::vector<std::int64_t>(clusters, 0)};
  Votes votes(clusters);
  for (std::int64_t cluster = 0; cluster < clusters; ++cluster) {
    for (const std::int32_t node : members.of(cluster)) {
      result.sizes[cluster] += graph.sizes[node];
      for (std::int64_t e = offsets[node]; e < offsets[node + 1]; ++e) {
        const std::int32_t other = cluster_of[neighbours[e]];
        if (other != cluster) votes.add(other, graph.weight(e));
      }
    }
    for (const std::int32_t other : votes.labels()) result.weights.push_back(votes.of(other));
    result.edges.add(votes.labels());
    votes.clear();
  }
  return result;
}

}  // namespace

std::vector<std::int32_t> order_of_near_rows(const std::vector<std::int64_t>& offsets,
                                             const std::vector<std::int32_t>& columns,
                                             std::int64_t column_count) {
  const auto rows = static_cast<std::int64_t>(offsets.size()) - 1;
  CHECK_GE(column_count, rows);
  std::vector<std::vector<std::int32_t>> levels;  // of each node of a level its cluster in the next
  Graph graph = graph_of(offsets, columns, column_count);
  for (std::int64_t most = kFirstCluster;; most *= kGrowth) {
    levels.push_back(propagated_labels(graph, most));
    const std::int64_t clusters = number_labels(levels.back());
    const std::int64_t before = graph.nodes();
    graph = contracted(graph, levels.back(), clusters);
    if (clusters <= kFewClusters || clusters > before / 20 * 19) break;
  }
  std::vector<std::int32_t> order(graph.nodes());  // of the clusters of the last level
  std::iota(order.begin(), order.end(), 0);
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    const NumberLists members = places_by_number(*level, static_cast<std::int64_t>(order.size()));
    std::vector<std::int32_t> finer;
    finer.reserve(level->size());
    for (const std::int32_t cluster : order) {
      const std::span<const std::int32_t> nodes = members.of(cluster);
      finer.insert(finer.end(), nodes.begin(), nodes.end());
    }
    order = std::move(finer);
  }
  std::erase_if(order, [&](std::int32_t node) { return node >= rows; });
  return order;
}

}  // namespace micrec
