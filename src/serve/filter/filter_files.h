#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "serve/filter/filter_rules.h"
#include "serve/filter/item_filter.h"

namespace micrec {

/// Which items lists are made of, as the flags of these names say it; empty: all.
struct FilterOptions {
  std::string only_items = {};     // FILE or DOMAIN=FILE,...: a key a line
  std::string exclude_items = {};  // likewise
  std::string attributes = {};     // FILE or DOMAIN=FILE,...: see ItemAttributes
  ItemRules rules = {};
};

/// Filters from the files and conditions that options name.
class FilterFiles {
 public:
  /// Looks at what is asked, and reads nothing yet; the data set outlives it. `domain`: whose files
  /// are those that name none.
  ///
  /// Errors   Error(Cause::usage): those of parse_domain_files() and FilterRules; attributes that
  ///          nothing asks about.
  FilterFiles(const FilterOptions& options, const std::string& domain, const DatasetFile& dataset);

  /// All files that it reads.
  std::vector<std::string> paths() const;

  /// The filter of one domain, or nothing where all its items may be listed. Says on `report` what
  /// was read, and how many items it lets through.
  ///
  /// Shapes   degree: (items) training interactions.
  /// Errors   those of LineReader, ItemAttributes and FilterRules; Error(Cause::data) where a file
  ///          has no known key; Error(Cause::usage) where attributes are asked about and none are
  ///          given for this domain.
  std::optional<ItemFilter> read(int domain, std::span<const std::int32_t> degree,
                                 std::ostream& report) const;

 private:
  using Files = std::map<int, std::string>;

  FilterOptions options_;
  FilterRules rules_;
  const DatasetFile& dataset_;
  Files only_;
  Files excluded_;
  Files attributes_;
};

}  // namespace micrec
