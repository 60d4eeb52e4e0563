#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "io/tables/interactions_reader.h"

namespace micrec {

/// What somebody interacted with in one domain.
struct MetItems {
  std::vector<std::int32_t> items;  // rising, without repeats
  /// (items) count_newer(), or none: nobody knows what came when.
  std::vector<std::int32_t> newer = {};
};

/// Of a repeated item its earliest time.
///
/// Shapes   items: in any order; times: (items), or none.
MetItems met_items(std::span<const std::int32_t> items, std::span<const std::int64_t> times);

/// What people have interacted with in one domain since it was prepared, of the items that the data
/// set knows.
struct History {
  KeyTable users;
  std::vector<MetItems> met;  // [number in users]

  /// What a person met; null where nothing is known.
  const MetItems* of(std::string_view key) const;
};

/// The file of every domain number in "FILE" or "DOMAIN=FILE,...", the value of `flag`,
/// "--history". A file alone is of `domain`, or of the data set's only one where that is empty.
///
/// Errors   Error(Cause::usage) where it does not say which domain it is of, names one that is
///          unknown, or names two files for one.
std::map<int, std::string> parse_domain_files(const std::string& flag, const std::string& list,
                                              const std::string& domain,
                                              const DatasetFile& dataset);

/// Reads a file of interactions and matches its keys with the items of a domain. Says on `report`
/// what was read, what was left out, and how many of the people are among `known_users`; and, where
/// `fades`, that what came when is not known where the file has no times.
///
/// Errors   those of for_each_interaction(); Error(Cause::data) where no item is known.
History read_history(const std::string& path, const InteractionsOptions& reading, int domain,
                     const DatasetFile& dataset, const KeyTable& known_users, bool fades,
                     std::ostream& report);

}  // namespace micrec
