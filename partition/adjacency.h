#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

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

/// The symmetric graph of interactions that arrive user by user, each user's items rising, each
/// pair once.
///
/// Cost     8 bytes an interaction and 16 a node; both passes see the same interactions.
class AdjacencyBuilder {
 public:
  explicit AdjacencyBuilder(std::int64_t nodes);

  void count(GlobalNode user, GlobalNode item);  ///< the first pass
  void add(GlobalNode user, GlobalNode item);    ///< the second
  Adjacency finish();                            ///< CHECK: the passes agree

 private:
  bool adding_ = false;
  Adjacency graph_;
  std::vector<std::int64_t> next_;
};

/// Exchanges the roles of rows and columns.
Adjacency transposed(const Adjacency& graph);

}  // namespace micrec
