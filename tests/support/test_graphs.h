#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/number_lists.h"
#include "base/random.h"
#include "kernels/pattern.h"
#include "partition/ownership.h"

namespace micrec {

/// The number of ranks that sharded answers are compared at.
inline const std::vector<int> kRankCounts = {1, 2, 3, 4, 5, 8};

/// A symmetric graph as lists of neighbours, rising.
struct TestGraph {
  std::vector<std::vector<std::int32_t>> lists;

  std::int64_t nodes() const { return static_cast<std::int64_t>(lists.size()); }

  /// The rows of a rank, as the constructors of the sharded operators take them.
  struct Rows {
    Lists<GlobalNode> neighbours;
    std::vector<float> weights;  // a function of (row, column)
  };
  Rows rows_of(const std::vector<GlobalNode>& owned) const {
    Rows rows;
    for (const GlobalNode node : owned) {
      for (const std::int32_t neighbour : lists[value(node)]) {
        rows.neighbours.values.push_back(GlobalNode(neighbour));
        rows.weights.push_back(weight(value(node), neighbour));
      }
      rows.neighbours.offsets.push_back(std::ssize(rows.neighbours.values));
    }
    return rows;
  }

  static float weight(std::int32_t row, std::int32_t column) {
    return static_cast<float>(mix(static_cast<std::uint32_t>(row * 7919 + column)) % 1000 + 1) /
           500;
  }

  Pattern pattern() const {
    Pattern pattern;
    for (const auto& list : lists) {
      pattern.columns.insert(pattern.columns.end(), list.begin(), list.end());
      pattern.offsets.push_back(static_cast<std::int64_t>(pattern.columns.size()));
    }
    return pattern;
  }

  /// (nodes, nodes) float64: ones, or weights.
  at::Tensor dense(bool weighted = false) const {
    at::Tensor matrix = at::zeros({nodes(), nodes()}, at::kDouble);
    auto* const data = matrix.mutable_data_ptr<double>();
    for (std::int32_t row = 0; row < nodes(); ++row) {
      for (const std::int32_t column : lists[row]) {
        data[row * nodes() + column] = weighted ? weight(row, column) : 1.0;
      }
    }
    return matrix;
  }

  at::Tensor inverse_sqrt_degree() const {  // (nodes) float32; 0 for a lone node
    at::Tensor result = at::zeros({nodes()});
    for (std::int64_t i = 0; i < nodes(); ++i) {
      if (!lists[i].empty()) {
        result.mutable_data_ptr<float>()[i] = 1.0F / std::sqrt(static_cast<float>(lists[i].size()));
      }
    }
    return result;
  }
};

/// Users first, then items; the last user and the last item have no neighbour, and the first item
/// is a hub that every other user touches.
inline TestGraph bipartite_graph(std::int32_t users, std::int32_t items, int edges_per_user) {
  const Random random(5, Purpose::synthetic);
  std::vector<std::set<std::int32_t>> sets(users + items);
  const auto connect = [&](std::int32_t user, std::int32_t item) {
    sets[user].insert(users + item);
    sets[users + item].insert(user);
  };
  for (std::int32_t user = 0; user + 1 < users; ++user) {
    connect(user, 0);
    for (int e = 0; e < edges_per_user; ++e) {
      connect(user, static_cast<std::int32_t>(random.index(items - 1, user, e)));
    }
  }
  TestGraph graph;
  for (const auto& set : sets) graph.lists.emplace_back(set.begin(), set.end());
  return graph;
}

/// Every row has some columns; not symmetric. Some columns are in no row.
inline TestGraph directed_graph(std::int32_t nodes, int edges_per_node) {
  const Random random(6, Purpose::synthetic);
  TestGraph graph;
  for (std::int32_t node = 0; node < nodes; ++node) {
    std::set<std::int32_t> set;
    for (int e = 0; e < edges_per_node && node % 7 != 3; ++e) {
      set.insert(static_cast<std::int32_t>(random.index(nodes / 2, node, e)) * 2);
    }
    graph.lists.emplace_back(set.begin(), set.end());
  }
  return graph;
}

/// Scattered owners; from three ranks on, rank 1 owns nothing.
inline Ownership scattered_ownership(std::int64_t nodes, int ranks) {
  Ownership ownership{ranks, {}};
  for (std::int64_t node = 0; node < nodes; ++node) {
    auto owner = static_cast<std::int32_t>(mix(static_cast<std::uint32_t>(node)) % ranks);
    if (ranks >= 3 && owner == 1) owner = 0;
    ownership.owner.push_back(owner);
  }
  return ownership;
}

inline at::Tensor node_numbers(const std::vector<GlobalNode>& nodes) {
  at::Tensor numbers = at::empty({static_cast<std::int64_t>(nodes.size())}, at::kLong);
  std::transform(nodes.begin(), nodes.end(), numbers.mutable_data_ptr<std::int64_t>(),
                 [](GlobalNode node) { return value(node); });
  return numbers;
}

/// Numbers in [-1, 1) that depend on nothing.
inline at::Tensor random_matrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  at::Tensor matrix = at::empty({rows, columns});
  const Random random(seed, Purpose::synthetic, 77);
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    matrix.mutable_data_ptr<float>()[i] = static_cast<float>(random.uniform(i) * 2 - 1);
  }
  return matrix;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.detach().contiguous();
  const at::Tensor right = b.detach().contiguous();
  return left.sizes() == right.sizes() && left.scalar_type() == right.scalar_type() &&
         (left.numel() == 0 ||
          std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0);
}

/// Largest difference over the largest number expected.
inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  if (actual.numel() == 0) return 0;
  const at::Tensor wanted = expected.detach().to(at::kDouble);
  const double scale = wanted.abs().max().item<double>();
  const double error = (actual.detach().to(at::kDouble) - wanted).abs().max().item<double>();
  return scale > 0 ? error / scale : error;
}

}  // namespace micrec
