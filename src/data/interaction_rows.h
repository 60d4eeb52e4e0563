#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "data/dataset_file.h"
#include "data/packed_column.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// Interactions by the numbers of users and items, sorted by (user, item), each pair once.
struct InteractionRows {
  PackedColumn<std::int32_t> user;        // (n)
  PackedColumn<std::int32_t> item;        // (n)
  PackedColumn<std::int64_t> timestamp;   // (n), or empty
  PackedColumn<std::int32_t> billionths;  // (n), or empty
  std::vector<Split> split;               // (n), or empty where no split is given

  std::size_t size() const { return user.size(); }
  /// Drops the others. keep: (n).
  void keep_only(const std::vector<std::uint8_t>& keep);
};

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
