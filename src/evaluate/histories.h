#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/ranking.h"
#include "model/step/shard.h"
#include "partition/node_space.h"

namespace micrec {

/// Whether it is told what of a history came when.
enum class HistoryAges {
  unknown,
  counted,  ///< as count_newer() does in each domain; where that has no times, 0
};

/// What people interacted with in all domains.
struct Histories {
  NumberLists items;                // numbered over all domains, rising in each list
  std::vector<std::int32_t> newer;  // (items.values), or none
};

/// Shapes   list_of_person: (people) number of a person's list, or -1; returns `lists` of them.
/// Ranks    not collective.
/// Cost     two passes over the interactions in pieces; 4 bytes an interaction of those people,
///          with ages 16, and 8 an interaction of a domain's split while they are read.
Histories load_histories(const DatasetFile& dataset, const NodeSpace& space, Observed observed,
                         HistoryAges ages, std::span<const std::int32_t> list_of_person,
                         std::int64_t lists);

}  // namespace micrec
