#include "partition/units.h"

#include <glog/logging.h>

namespace micrec {
Units units_of(const NodeSpace& space, const People& people,
               const std::vector<std::int32_t>& degree) {
  CHECK_EQ(static_cast<std::int64_t>(people.person.size()), space.users());
  CHECK_EQ(static_cast<std::int64_t>(degree.size()), space.nodes());
  const std::int64_t items = space.items();
  Units units;
  units.of_node.resize(static_cast<std::size_t>(space.nodes()));
  units.nonzeros.assign(static_cast<std::size_t>(people.count + items), 0);
  units.rows.assign(units.nonzeros.size(), 0);
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    const std::int64_t unit =
        node < space.users() ? people.person[node] : people.count + node - space.users();
    CHECK(unit >= 0 && unit < units.count());
    units.of_node[node] = static_cast<std::int32_t>(unit);
    units.nonzeros[unit] += degree[node];
    ++units.rows[unit];
  }
  return units;
}

Ownership ownership_of_units(const Units& units, const std::vector<std::int32_t>& part_of_unit,
                             int parts) {
  CHECK_EQ(static_cast<std::int64_t>(part_of_unit.size()), units.count());
  Ownership ownership{parts, std::vector<std::int32_t>(units.of_node.size())};
  for (std::size_t node = 0; node < units.of_node.size(); ++node) {
    const std::int32_t part = part_of_unit[units.of_node[node]];
    CHECK(part >= 0 && part < parts);
    ownership.owner[node] = part;
  }
  return ownership;
}

}  // namespace micrec
