#include "data/training_graph.h"

namespace micrec {

Adjacency read_training_graph(const DatasetFile& dataset, const NodeSpace& space) {
  return symmetric_graph(space.nodes(), [&](const auto& use) {
    for (int domain = 0; domain < space.domains(); ++domain) {
      dataset.for_each_interaction(domain, Split::train, [&](std::int32_t user, std::int32_t item) {
        use(space.user(domain, user), space.item(domain, item));
      });
    }
  });
}

}  // namespace micrec
