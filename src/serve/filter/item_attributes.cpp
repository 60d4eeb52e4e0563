#include "serve/filter/item_attributes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <ostream>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "serve/item_table.h"

namespace micrec {
namespace {

std::optional<double> finite_number(std::string_view value) {
  const std::optional<double> number = parse_real(value);
  return number && std::isfinite(*number) ? number : std::nullopt;
}

/// Makes it a column of numbers where all its values are.
void settle(ItemAttributes::Column& column) {
  const auto count = static_cast<std::int32_t>(column.values.size());
  for (std::int32_t v = 0; v < count; ++v) {
    const std::optional<double> number = finite_number(column.values.key(v));
    if (!number) {
      column.number.clear();
      return;
    }
    column.number.push_back(*number);
  }
  column.has_numbers = true;
}

std::string in_words(const ItemAttributes::Column& column) {
  const std::int64_t values = column.values.size();
  const auto there = std::ranges::count_if(column.of_item, [](std::int32_t v) { return v >= 0; });
  return text(printable(column.name), " (",
              values == 0 ? std::string("no values")
                          : text(with_commas(values), column.has_numbers ? " numbers" : " texts",
                                 ", of ", with_commas(there), " items"),
              ")");
}

}  // namespace

std::string ItemAttributes::Column::a_text() const {
  for (std::int32_t v = 0; v < static_cast<std::int32_t>(values.size()); ++v) {
    if (!finite_number(values.key(v))) return std::string(values.key(v));
  }
  return {};
}

std::vector<std::int32_t> ItemAttributes::Column::groups() const {
  if (!has_numbers) return of_item;
  std::map<double, std::int32_t> of_number;
  std::vector<std::int32_t> of_value;
  for (const double value : number) {
    const auto next = static_cast<std::int32_t>(of_number.size());
    of_value.push_back(of_number.emplace(value, next).first->second);
  }
  std::vector<std::int32_t> groups;
  for (const std::int32_t value : of_item) groups.push_back(value < 0 ? -1 : of_value[value]);
  return groups;
}

ItemAttributes ItemAttributes::read(const std::string& path, const std::string& domain,
                                    const KeyTable& items, std::ostream& report) {
  ItemTable table{LineReader(path)};
  if (table.is_empty()) {
    throw Error(Cause::data, path,
                " is empty; expected a table of attributes with a header line "
                "that names item_id and other columns");
  }
  ItemAttributes attributes;
  attributes.path_ = path;
  std::vector<std::size_t> place;  // (columns) in the table
  for (std::size_t c = 0; c < table.names().size(); ++c) {
    if (c == table.key_column() || table.names()[c].empty()) continue;
    place.push_back(c);
    attributes.columns_.emplace_back();
    attributes.columns_.back().name = table.names()[c];
    attributes.columns_.back().of_item.assign(items.size(), -1);
  }
  std::vector<std::int64_t> line_of(items.size(), 0);
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  while (table.next()) {
    const std::string_view key = table.key();
    ++read;
    const std::int32_t item = items.find(key);
    if (item < 0) {
      if (unknown++ == 0) unknown_example = printable(key);
      continue;
    }
    if (line_of[item] > 0) {
      throw table.error(text("the item ", excerpt(key), " has a line already, line ", line_of[item],
                             "; expected a line an item"));
    }
    line_of[item] = table.line_number();
    for (std::size_t c = 0; c < place.size(); ++c) {
      const std::string_view value = table.field(place[c]);
      Column& column = attributes.columns_[c];
      if (!value.empty()) column.of_item[item] = column.values.add(value);
    }
  }
  if (unknown == read) {
    throw Error(
        Cause::data, path, ": none of its ", with_commas(read), " items is an item of the domain ",
        domain,
        read == 0 ? std::string()
                  : text(" (it has '", unknown_example, "', the domain has '", items.key(0), "')"),
        "; check item_id, or name the domain by DOMAIN=FILE");
  }
  std::vector<std::string> words;
  for (Column& column : attributes.columns_) {
    settle(column);
    words.push_back(in_words(column));
  }
  report << path << ": attributes of " << with_commas(read - unknown) << " of the "
         << with_commas(items.size()) << " items of " << domain << ": "
         << (words.empty() ? "none" : join(words, ", ")) << "\n";
  if (unknown > 0) {
    report << "  " << with_commas(unknown) << " lines of items that " << domain
           << " does not have, as '" << unknown_example << "': left out\n";
  }
  return attributes;
}

const ItemAttributes::Column& ItemAttributes::column(const std::string& name,
                                                     const std::string& asked) const {
  const auto found = std::ranges::find(columns_, name, &Column::name);
  if (found != columns_.end()) return *found;
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  const std::optional<std::string> near = nearest(name, names);
  throw Error(Cause::usage, asked, ": ", path_, " has no column ", excerpt(name), "; ",
              near ? text("did you mean ", printable(*near), "?")
                   : text("it has ", names.empty() ? "item_id alone" : listed(names)));
}

}  // namespace micrec
