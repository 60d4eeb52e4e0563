#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// An interaction while it is numbered and sorted.
struct InteractionRow {
  std::int32_t user;
  std::int32_t item;
  std::int64_t timestamp;
  std::int32_t billionths;
  Split split;
};

/// The interactions by their new numbers, sorted by (user, item, split, time); frees those of
/// `raw`. Shapes   user_number, item_number: by the numbers in raw.users and raw.items.
std::vector<InteractionRow> take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                                      const std::vector<std::int32_t>& item_number);

/// Keeps the first of every pair: the earliest, and of given splits the earlier one. Says on
/// `report` how many others there were.
void drop_repeated(std::vector<InteractionRow>& rows, const std::string& domain, SplitKind split,
                   std::ostream& report);

}  // namespace micrec
