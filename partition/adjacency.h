#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/number_lists.h"

namespace micrec {

/// For every node the nodes that it is summed into: its readers. Of the symmetric interaction graph
/// these are its neighbours; of a directed operator, the rows whose column it is.
///
/// Shapes   (nodes) lists, rising.
struct Adjacency : NumberLists {
  std::int64_t nodes() const { return size(); }
  std::int64_t nonzeros() const { return offsets.back(); }
  std::int64_t degree(std::int64_t node) const { return offsets[node + 1] - offsets[node]; }
};

/// The symmetric graph of interactions. for_each(use) calls use(user, item) for all of them, user
/// by user, each user's items rising, each pair once; it does so twice.
///
/// Cost     8 bytes an interaction and 16 a node.
template <typename ForEach>
Adjacency symmetric_graph(std::int64_t nodes, const ForEach& for_each) {
  return {lists_of<std::int32_t>(nodes, [&](const auto& use) {
    for_each([&](GlobalNode user, GlobalNode item) {
      use(value(user), value(item));
      use(value(item), value(user));
    });
  })};
}

/// (nodes) of each how many it is summed into.
std::vector<std::int32_t> degrees_of(const Adjacency& graph);

/// Exchanges the roles of rows and columns.
Adjacency transposed(const Adjacency& graph);

}  // namespace micrec
