#include "serve/item_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/table_shape.h"

namespace micrec {
namespace {

bool is_item_name(std::string_view name) {
  return std::ranges::find(kItemNames, name) != std::end(kItemNames);
}

/// What stands between the fields of the table, told by its header.
char separator_of(const LineReader& lines) {
  const std::vector<std::string_view> first =
      first_lines(lines.start(), lines.line_feed(), lines.start_is_all());
  char chosen = ',';
  std::size_t most = 0;
  for (const char separator : {',', '\t', ';', '|'}) {
    if (first.empty()) break;
    const std::vector<std::string_view> names =
        fields_of(first.front(), std::string_view(&separator, 1));
    const bool has_item = std::ranges::any_of(names, [](std::string_view name) {
      name = trim(name);
      if (name.size() > 1 && name.front() == '"' && name.back() == '"') {
        name = name.substr(1, name.size() - 2);
      }
      return is_item_name(name);
    });
    if (has_item && names.size() > most) {
      chosen = separator;
      most = names.size();
    }
  }
  return chosen;
}

CsvReader table_of(LineReader lines) {
  const CsvFormat format = csv_format(separator_of(lines));
  return {std::move(lines), format};
}

}  // namespace

ItemTable::ItemTable(LineReader lines) : table_(table_of(std::move(lines))) {
  if (!table_.next()) return;
  std::vector<std::string> named;
  for (const std::string_view field : table_.fields()) {
    names_.emplace_back(trim(field));
    const std::string& name = names_.back();
    if (name.empty()) continue;
    if (std::ranges::find(named, name) != named.end()) {
      throw error(text("two columns are called ", excerpt(name), "; give each its own name"));
    }
    named.push_back(name);
  }
  for (const char* name : kItemNames) {
    if (const std::optional<std::size_t> column = find(name)) {
      key_column_ = *column;
      return;
    }
  }
  throw error(text("expected a header line with a column item_id, got ", listed(named),
                   "; name the column of item keys so"));
}

std::optional<std::size_t> ItemTable::find(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  if (found == names_.end()) return std::nullopt;
  return found - names_.begin();
}

bool ItemTable::next() {
  if (!table_.next()) return false;
  if (table_.fields().size() != names_.size()) {
    throw error(
        text("expected ", names_.size(), " fields as in the header, got ", table_.fields().size()));
  }
  if (key().empty()) {
    throw error(text(names_[key_column_], " is empty; expected an item's key"));
  }
  return true;
}

std::string_view ItemTable::field(std::size_t column) const {
  return trim(table_.fields()[column]);
}

}  // namespace micrec
