#include "data/training_graph.h"

namespace micrec {

Adjacency read_training_graph(const DatasetFile& dataset, const NodeSpace& space) {
  AdjacencyBuilder builder(space.nodes());
  const auto for_each = [&](auto&& use) {
    for (int domain = 0; domain < space.domains(); ++domain) {
      dataset.for_each_chunk(domain, Split::train, [&](const Interactions& chunk) {
        for (std::size_t e = 0; e < chunk.user.size(); ++e) {
          use(space.user(domain, chunk.user[e]), space.item(domain, chunk.item[e]));
        }
      });
    }
  };
  for_each([&](GlobalNode user, GlobalNode item) { builder.count(user, item); });
  for_each([&](GlobalNode user, GlobalNode item) { builder.add(user, item); });
  return builder.finish();
}

}  // namespace micrec
