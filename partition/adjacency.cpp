#include "partition/adjacency.h"

#include <glog/logging.h>

namespace micrec {

Adjacency transposed(const Adjacency& graph) {
  NumberLists lists = lists_of<std::int32_t>(graph.nodes(), [&](const auto& use) {
    for (std::int32_t node = 0; node < graph.nodes(); ++node) {
      for (std::int64_t i = graph.offsets[node]; i < graph.offsets[node + 1]; ++i) {
        CHECK(graph.columns[i] >= 0 && graph.columns[i] < graph.nodes());
        use(graph.columns[i], node);
      }
    }
  });
  return {std::move(lists.offsets), std::move(lists.values)};
}

}  // namespace micrec
