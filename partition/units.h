#pragma once

#include <cstdint>
#include <vector>

#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// What a partitioner moves as one: a person with all their nodes, or an item. People come first.
struct Units {
  std::vector<std::int32_t> of_node;   // (nodes)
  std::vector<std::int64_t> nonzeros;  // (units) training interactions of its nodes
  std::vector<std::int64_t> rows;      // (units) nodes

  std::int64_t count() const { return static_cast<std::int64_t>(rows.size()); }
};

/// `degree`: (nodes) training interactions.
Units units_of(const NodeSpace& space, const People& people,
               const std::vector<std::int32_t>& degree);

/// `part_of_unit`: (units), each in [0, parts).
Ownership ownership_of_units(const Units& units, const std::vector<std::int32_t>& part_of_unit,
                             int parts);

}  // namespace micrec
