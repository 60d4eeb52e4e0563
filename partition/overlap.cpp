#include "partition/overlap.h"

#include <utility>

namespace micrec {

std::vector<OverlapPair> find_overlaps(const NodeSpace& space, const People& people,
                                       const std::vector<std::int32_t>& training_degree) {
  const int domains = space.domains();
  std::vector<std::vector<std::int32_t>> node_of(domains,
                                                 std::vector<std::int32_t>(people.count, -1));
  for (std::int64_t user = 0; user < space.users(); ++user) {
    if (training_degree[user] == 0) continue;
    const auto node = GlobalNode(static_cast<std::int32_t>(user));
    node_of[space.domain_of(node)][people.person[user]] = value(node);
  }
  std::vector<OverlapPair> pairs;
  for (int k = 0; k < domains; ++k) {
    for (int l = k + 1; l < domains; ++l) {
      OverlapPair pair{k, l, {}, {}};
      for (std::int64_t person = 0; person < people.count; ++person) {
        if (node_of[k][person] < 0 || node_of[l][person] < 0) continue;
        pair.first.push_back(GlobalNode(node_of[k][person]));
        pair.second.push_back(GlobalNode(node_of[l][person]));
      }
      if (pair.first.size() >= 2) pairs.push_back(std::move(pair));
    }
  }
  return pairs;
}

}  // namespace micrec
