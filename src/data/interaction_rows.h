#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// Interactions by the numbers of users and items, sorted by (user, item, split, time).
struct InteractionRows {
  std::vector<std::int32_t> user;        // (n)
  std::vector<std::int32_t> item;        // (n)
  std::vector<std::int64_t> timestamp;   // (n), or empty
  std::vector<std::int32_t> billionths;  // (n), or empty
  std::vector<Split> split;              // (n), or empty where no split is given

  std::size_t size() const { return user.size(); }
  /// Drops all behind the first `count`.
  void resize(std::size_t count);
  /// Drops the others. keep: (n).
  void keep_only(const std::vector<std::uint8_t>& keep);
};

/// The interactions by their new numbers; frees those of `raw`.
///
/// Shapes   user_number, item_number: by the numbers in raw.users and raw.items.
/// Cost     Put into ranges of users in place, which a cache holds and which are then sorted by
///          counting; no more memory than the 16 bytes an interaction of the result.
InteractionRows take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                          const std::vector<std::int32_t>& item_number);

/// Keeps the first of every pair: the earliest, and of given splits the earlier one. Says on
/// `report` how many others there were.
void drop_repeated(InteractionRows& rows, const std::string& domain, SplitKind split,
                   std::ostream& report);

}  // namespace micrec
