#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/ranking.h"
#include "partition/node_space.h"

namespace micrec {

/// Which interactions people's histories are made of.
enum class KnownInteractions {
  training,  ///< those of the training graph
  all,       ///< those observed later too
};

/// What people interacted with in all domains, the items numbered over all domains.
///
/// Shapes   list_of_person: (people) number of a person's list, or -1; returns `lists` of them.
/// Ranks    not collective.
/// Cost     two passes over the interactions in pieces; 4 bytes an interaction of those people.
NumberLists load_histories(const DatasetFile& dataset, const NodeSpace& space,
                           KnownInteractions known, std::span<const std::int32_t> list_of_person,
                           std::int64_t lists);

}  // namespace micrec
