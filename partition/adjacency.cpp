#include "partition/adjacency.h"

#include <glog/logging.h>

namespace micrec {

std::vector<std::int32_t> degrees_of(const Adjacency& graph) {
  std::vector<std::int32_t> degrees;
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    degrees.push_back(static_cast<std::int32_t>(graph.degree(node)));
  }
  return degrees;
}

Adjacency transposed(const Adjacency& graph) {
  return {lists_of<std::int32_t>(graph.nodes(), [&](const auto& use) {
    for (std::int32_t node = 0; node < graph.nodes(); ++node) {
      for (const std::int32_t column : graph.of(node)) {
        CHECK(column >= 0 && column < graph.nodes());
        use(column, node);
      }
    }
  })};
}

}  // namespace micrec
