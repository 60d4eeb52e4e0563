#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "data/prepared_dataset.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// The interactions by their new numbers, of every pair the first: the earliest, and of given
/// splits the earlier one. Says on `report` how many others there were. Frees those of `raw`.
///
/// Shapes   user_number, item_number: by the numbers in raw.users and raw.items.
/// Cost     An interaction is a number of 64 bits that orders as it does (20 bytes, where it has
///          more bits), put into a range of users that a cache holds, and sorted there by counting.
///          `raw` is given back while they are put there, and they while the result is made.
InteractionRows take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                          const std::vector<std::int32_t>& item_number, SplitKind split,
                          std::ostream& report);

}  // namespace micrec
