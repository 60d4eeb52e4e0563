#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// People who are trained on in both domains of a pair, in the order of their numbers, the same on
/// all ranks.
struct OverlapPair {
  int first_domain = 0;
  int second_domain = 0;
  std::vector<GlobalNode> first;   // (people) their user nodes in the first domain ...
  std::vector<GlobalNode> second;  // (people) ... and in the second
};

/// All pairs of domains with at least two such people; one alone has no negatives.
/// `training_degree`: (nodes) training interactions.
std::vector<OverlapPair> find_overlaps(const NodeSpace& space, const People& people,
                                       const std::vector<std::int32_t>& training_degree);

}  // namespace micrec
