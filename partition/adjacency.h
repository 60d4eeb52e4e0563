#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/number_lists.h"

namespace micrec {

/// For every node the nodes that it is summed into: its readers. Of the symmetric interaction graph
/// these are its neighbours; of a directed operator, the rows whose column it is.
struct Adjacency {
  std::vector<std::int64_t> offsets = {0};  // (nodes + 1)
  std::vector<std::int32_t> columns;        // (nonzeros) rising within a node

  std::int64_t nodes() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t nonzeros() const { return offsets.back(); }
  std::int64_t degree(std::int64_t node) const { return offsets[node + 1] - offsets[node]; }
};

/// The symmetric graph of interactions. for_each(use) calls use(user, item) for all of them, user
/// by user, each user's items rising, each pair once; it does so twice.
///
/// Cost     8 bytes an interaction and 16 a node.
template <typename ForEach>
Adjacency symmetric_graph(std::int64_t nodes, const ForEach& for_each) {
  NumberLists lists = lists_of<std::int32_t>(nodes, [&](const auto& use) {
    for_each([&](GlobalNode user, GlobalNode item) {
      use(value(user), value(item));
      use(value(item), value(user));
    });
  });
  return {std::move(lists.offsets), std::move(lists.values)};
}

/// Exchanges the roles of rows and columns.
Adjacency transposed(const Adjacency& graph);

}  // namespace micrec
