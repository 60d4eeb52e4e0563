#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "data/key_table.h"

namespace micrec {

/// What is known of the items of a domain besides who met them: price, brand, and whatever else a
/// table has columns for.
class ItemAttributes {
 public:
  /// A column, of numbers where every value that is there is one, else of texts.
  struct Column {
    std::string name;
    bool has_numbers = false;
    KeyTable values;                    // the distinct values as they stand in the file
    std::vector<double> number;         // (values) of a column of numbers
    std::vector<std::int32_t> of_item;  // (items) number of the value, -1 where it is missing

    /// Some value that is not a number, of a column of texts.
    std::string a_text() const;
    /// The items by equal values, "1" and "1.0" of numbers being one: a number of each item's, -1
    /// where the value is missing.
    std::vector<std::int32_t> groups() const;
  };

  /// Reads an ItemTable. An empty field is a missing value, and so are all of an item without a
  /// line. Columns without a name are left out. Says on `report` what there is, and how many lines
  /// are of items that the domain does not have.
  ///
  /// Errors   those of ItemTable; Error(Cause::data) where it has nothing or no item is known, and
  ///          with file and line where an item comes twice.
  /// Cost     one pass; 4 bytes an item and column, and each distinct value once.
  static ItemAttributes read(const std::string& path, const std::string& domain,
                             const KeyTable& items, std::ostream& report);

  const std::string& path() const { return path_; }
  const std::vector<Column>& columns() const { return columns_; }
  /// Errors   Error(Cause::usage) where there is none of the name: says which there are. `asked`
  ///          begins the sentence: "--at_most".
  const Column& column(const std::string& name, const std::string& asked) const;

 private:
  std::string path_;
  std::vector<Column> columns_;
};

}  // namespace micrec
