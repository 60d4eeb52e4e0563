#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tables/csv.h"

namespace micrec {

/// The names that a column, or a member of an object, with the keys of items may have; the first of
/// these that is there.
inline constexpr const char* kItemNames[] = {"item_id", "parent_asin", "asin"};

/// A table about items, plain or compressed: a header line that names the column of their keys
/// (kItemNames) and others, with commas, tabs, semicolons or bars between the fields, and a line an
/// item. Spaces and tabs around a field are no part of it.
class ItemTable {
 public:
  /// Errors   those of CsvReader; Error(Cause::data) with file and line where no column has keys,
  ///          or two have one name.
  explicit ItemTable(LineReader lines);

  /// Whether there is not even a header.
  bool is_empty() const { return names_.empty(); }
  /// (columns) empty where a column has none.
  const std::vector<std::string>& names() const { return names_; }
  /// Of the column with the keys.
  std::size_t key_column() const { return key_column_; }
  std::optional<std::size_t> find(std::string_view name) const;

  /// Moves to the next line; false after the last. Errors: Error(Cause::data) where it has more or
  /// fewer fields than there are names, or no key.
  bool next();
  /// Of the line, valid until the next call of next().
  std::string_view key() const { return field(key_column_); }
  std::string_view field(std::size_t column) const;

  std::int64_t line_number() const { return table_.line_number(); }
  Error error(const std::string& what) const { return table_.error(what); }

 private:
  CsvReader table_;
  std::vector<std::string> names_;
  std::size_t key_column_ = 0;
};

}  // namespace micrec
