#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/packed_column.h"

namespace micrec {

/// Fewest interactions that a user and an item keep; 1 keeps everyone who has any.
struct CoreThresholds {
  std::int64_t user = 1;
  std::int64_t item = 1;
};

/// Thresholds of all domains, and of single ones that differ.
struct CoreRule {
  CoreThresholds common;
  std::map<std::string, CoreThresholds> by_domain;

  CoreThresholds of(const std::string& domain) const;
  /// As parse_core_rule() takes it; empty where nothing is filtered.
  std::string to_string() const;
};

/// "5", "user:5,item:3", "5,kitchen/item:3" (the domain kitchen: users 5, items 3); empty: no
/// filter.
/// Errors   Error(usage), also where a threshold is given twice ("5,user:3").
CoreRule parse_core_rule(const std::string& rule);

/// What a k-core filter took away.
struct CoreReport {
  std::int64_t rounds = 0;  // until nothing changed; 0 where all were above the thresholds at once
  std::int64_t users_dropped = 0;
  std::int64_t items_dropped = 0;
  std::int64_t interactions_dropped = 0;
};

/// Which interactions remain when users and items below the thresholds are taken away until none
/// is.
///
/// Shapes   user_column, item_column: (n); keep: (n) uint8, 1 where an interaction remains.
/// Cost     O(n) a round.
CoreReport find_core(const PackedColumn<std::int32_t>& user_column,
                     const PackedColumn<std::int32_t>& item_column, std::int64_t users,
                     std::int64_t items, const CoreThresholds& thresholds,
                     std::vector<std::uint8_t>& keep);

}  // namespace micrec
