#include "serve/item_attributes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/csv.h"
#include "io/table_shape.h"

namespace micrec {
namespace {

constexpr char kItemColumn[] = "item_id";

std::optional<double> finite_number(std::string_view value) {
  const std::optional<double> number = parse_real(value);
  return number && std::isfinite(*number) ? number : std::nullopt;
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
      return name == kItemColumn;
    });
    if (has_item && names.size() > most) {
      chosen = separator;
      most = names.size();
    }
  }
  return chosen;
}

/// The columns of a header, and which of them are attributes.
struct Header {
  std::size_t width = 0;
  std::size_t item = 0;
  std::vector<std::size_t> attributes;
};

Header read_header(CsvReader& table, std::vector<ItemAttributes::Column>& columns) {
  if (!table.next()) {
    throw Error(Cause::data, text(table.path(),
                                  " is empty; expected a table of attributes with a header line "
                                  "that names item_id and other columns"));
  }
  Header header;
  header.width = table.fields().size();
  std::optional<std::size_t> item;
  std::vector<std::string> names;
  for (std::size_t f = 0; f < header.width; ++f) {
    const std::string name(trim(table.fields()[f]));
    if (name.empty()) continue;
    if (std::ranges::find(names, name) != names.end()) {
      throw table.error(text("two columns are called ", excerpt(name), "; give each its own name"));
    }
    names.push_back(name);
    if (name == kItemColumn) {
      item = f;
      continue;
    }
    header.attributes.push_back(f);
    columns.emplace_back();
    columns.back().name = name;
  }
  if (!item) {
    throw table.error(text("expected a header line with a column item_id, got ", listed(names),
                           "; name the column of item keys so"));
  }
  header.item = *item;
  return header;
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
  LineReader lines(path);
  const CsvFormat format = csv_format(separator_of(lines));
  CsvReader table(std::move(lines), format);
  ItemAttributes attributes;
  attributes.path_ = path;
  const Header header = read_header(table, attributes.columns_);
  for (Column& column : attributes.columns_) column.of_item.assign(items.size(), -1);
  std::vector<std::int64_t> line_of(items.size(), 0);
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  while (table.next()) {
    if (table.fields().size() != header.width) {
      throw table.error(
          text("expected ", header.width, " fields as in the header, got ", table.fields().size()));
    }
    const std::string_view key = trim(table.fields()[header.item]);
    if (key.empty()) throw table.error("item_id is empty; expected an item's key");
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
    for (std::size_t c = 0; c < header.attributes.size(); ++c) {
      const std::string_view value = trim(table.fields()[header.attributes[c]]);
      Column& column = attributes.columns_[c];
      if (!value.empty()) column.of_item[item] = column.values.add(value);
    }
  }
  if (unknown == read) {
    throw Error(Cause::data, text(path, ": none of its ", with_commas(read),
                                  " items is an item of the domain ", domain,
                                  read == 0 ? std::string()
                                            : text(" (it has '", unknown_example,
                                                   "', the domain has '", items.key(0), "')"),
                                  "; check item_id, or name the domain by DOMAIN=FILE"));
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
  throw Error(Cause::usage,
              text(asked, ": ", path_, " has no column ", excerpt(name), "; ",
                   near ? text("did you mean ", printable(*near), "?")
                        : text("it has ", names.empty() ? "item_id alone" : listed(names))));
}

}  // namespace micrec
