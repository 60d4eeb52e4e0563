#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/interaction_delivery.h"

namespace micrec {
namespace {

using Object = simdjson::dom::object;

Names field_names(Object object) {
  Names names;
  for (const auto field : object) names.emplace_back(field.key);
  return names;
}

/// The file's name of every role's field; empty: none.
using FieldNames = std::array<std::string, kRoles>;

FieldNames find_fields(const LineReader& lines, Object object, const ColumnNames& columns) {
  const Names names = field_names(object);
  if (columns.numbers) {
    throw Error(Cause::usage, lines.path(), ": columns of a JSON file are given by name; it has ",
                listed(names));
  }
  if (columns.given) {
    for (const std::string& name : columns.names) {
      if (name.empty() || std::ranges::find(names, name) != names.end()) continue;
      throw lines.error("no field '", name, "'; the object has ", listed(names),
                        did_you_mean(name, names));
    }
    return columns.names;
  }
  Names small;
  for (const std::string& name : names) small.push_back(small_letters(name));
  FieldNames found;
  for (std::size_t r = 0; r < kRoles; ++r) {
    const Role role = static_cast<Role>(r);
    if (const auto at = find_any(small, names_of(role))) {
      found[r] = names[*at];
    } else if (role == Role::user || role == Role::item) {
      throw lines.error("no field for the ", word_for(role), ": expected ",
                        role == Role::user ? "reviewerID (Amazon 2014, 2018) or user_id"
                                           : "asin, parent_asin (Amazon) or item_id",
                        ", got ", listed(names),
                        "; name the fields: --columns=USER,ITEM[,TIMESTAMP[,RATING]]");
    }
  }
  return found;
}

/// A scalar as text; numbers are written into `buffer`. Nothing where it is missing or null.
std::optional<std::string_view> scalar(const LineReader& lines, simdjson::dom::element element,
                                       const std::string& name, std::array<char, 32>& buffer) {
  if (element.is_null()) return std::nullopt;
  std::string_view letters;
  if (element.get(letters) == simdjson::SUCCESS) return letters;
  const auto written = [&](auto number) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
    return std::string_view(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  };
  std::int64_t whole = 0;
  if (element.get(whole) == simdjson::SUCCESS) return written(whole);
  std::uint64_t large = 0;
  if (element.get(large) == simdjson::SUCCESS) return written(large);
  double real = 0;
  if (element.is_double() && element.get(real) == simdjson::SUCCESS) return written(real);
  throw lines.error("field '", name, "': expected a string or a number, got ",
                    element.is_array()    ? "an array"
                    : element.is_object() ? "an object"
                                          : "another value");
}

/// What a line that is no JSON object is instead, and what to do about it; nothing where it is just
/// broken.
std::string other_notation(std::string_view line) {
  const std::string_view trimmed = trim(line);
  const auto outside_strings = [&](const std::function<bool(std::size_t)>& found) {
    bool inside = false;
    for (std::size_t at = 0; at < trimmed.size(); ++at) {
      if (inside && trimmed[at] == '\\') {
        ++at;
      } else if (trimmed[at] == '"') {
        inside = !inside;
      } else if (!inside && found(at)) {
        return true;
      }
    }
    return false;
  };
  const auto next_letter = [&](std::size_t at) {
    at = trimmed.find_first_not_of(" \t", at + 1);
    return at == std::string_view::npos ? '\0' : trimmed[at];
  };
  constexpr const char* kOneALine = "; write an object a line: jq -c . FILE > OUT.jsonl";
  if (trimmed.starts_with('[')) {
    return "an array over several lines; write its elements a line each: jq -c '.[]' FILE > "
           "OUT.jsonl";
  }
  if (trimmed == "{" || trimmed.ends_with(',') || trimmed.ends_with('{') ||
      trimmed.ends_with('[')) {
    const bool is_element = trimmed.ends_with("},");
    return text(is_element ? "an object and a comma, as in an array without its brackets; take the "
                             "comma off"
                           : "an object over several lines",
                is_element ? "" : kOneALine);
  }
  const std::string_view inside = trim(trimmed.substr(trimmed.starts_with('{') ? 1 : 0));
  if (trimmed.starts_with('{') && (inside.starts_with('\'') || inside.starts_with("u'"))) {
    return "a Python dictionary, in single quotes; rewrite each line with "
           "json.dumps(ast.literal_eval(line))";
  }
  if (outside_strings(
          [&](std::size_t at) { return trimmed[at] == '}' && next_letter(at) == '{'; })) {
    return text("two objects on a line", kOneALine);
  }
  if (outside_strings([&](std::size_t at) {
        return trimmed[at] == ',' && (next_letter(at) == '}' || next_letter(at) == ']');
      })) {
    return "a record with a comma after its last field, which JSON does not have; take it out";
  }
  if (outside_strings([&](std::size_t at) {
        const std::string_view rest = trimmed.substr(at);
        return rest.starts_with("NaN") || rest.starts_with("Infinity");
      })) {
    return "a record with NaN or Infinity, which JSON does not have; write null";
  }
  if (outside_strings([&](std::size_t at) {
        const std::string_view rest = trimmed.substr(at);
        return rest.starts_with("None") || rest.starts_with("True") || rest.starts_with("False");
      })) {
    return "a Python dictionary (None, True or False); rewrite each line with "
           "json.dumps(ast.literal_eval(line))";
  }
  return "";
}

class ObjectReader {
 public:
  ObjectReader(LineReader lines, const ColumnNames& columns, Delivery& delivery)
      : lines_(std::move(lines)), columns_(columns), delivery_(delivery) {}

  void read() {
    std::string_view line;
    while (lines_.next(&line)) {
      if (trim(line).empty()) continue;
      const Object object = parse(line);
      if (!found_) find(object);
      deliver(object);
    }
    if (!found_) refuse_empty(lines_.path(), "the file is empty");
  }

 private:
  Object parse(std::string_view line) {
    simdjson::dom::element element;
    if (const auto error = parser_.parse(line.data(), line.size()).get(element)) {
      const std::string other = other_notation(line);
      throw lines_.error("broken JSON (", simdjson::error_message(error),
                         "): expected an object a line, got ", excerpt(line),
                         other.empty() ? "" : "; it seems to be " + other);
    }
    Object object;
    if (element.get(object) != simdjson::SUCCESS) {
      throw lines_.error("expected a JSON object a line, got ", excerpt(line),
                         element.is_array() ? "; write each element of the array on a line of its "
                                              "own: jq -c '.[]' FILE > OUT.jsonl"
                                            : "");
    }
    return object;
  }

  void find(Object object) {
    fields_ = find_fields(lines_, object, columns_);
    found_ = true;
    const auto name = [this](Role role) -> const std::string& { return fields_[index(role)]; };
    const std::string item = small_letters(name(Role::item));
    const bool amazon = item == "asin" || item == "parent_asin";
    InteractionsSummary& summary = delivery_.summary();
    summary.format = amazon && name(Role::user) == "user_id" && name(Role::timestamp) == "timestamp"
                         ? "Amazon reviews of 2023 (JSON lines)"
                     : amazon && name(Role::user) == "reviewerID"
                         ? "Amazon reviews of 2014 or 2018 (JSON lines)"
                         : "JSON lines";
    summary.has_timestamps = !name(Role::timestamp).empty();
    if (delivery_.wants_rating() && name(Role::rating).empty()) {
      throw lines_.error(
          "a least rating is asked for, but there is no field for ratings; the object has ",
          listed(field_names(object)), "; name it: --columns=USER,ITEM,TIMESTAMP,RATING");
    }
    if (delivery_.wants_label() && name(Role::label).empty()) {
      throw lines_.error("--split=column: no field for the split: expected x_label, got ",
                         listed(field_names(object)),
                         "; name it: --columns=USER,ITEM,TIMESTAMP,RATING,SPLIT");
    }
    if (!delivery_.wants_label()) {
      summary.unused_label = name(Role::label);
      fields_[index(Role::label)].clear();
    }
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (fields_[role].empty()) continue;
      summary.columns += text(summary.columns.empty() ? "" : ", ", printable(fields_[role]), " as ",
                              word_for(static_cast<Role>(role)));
    }
  }

  void deliver(Object object) {
    std::array<std::optional<simdjson::dom::element>, kRoles> elements;
    for (const auto field : object) {
      for (std::size_t role = 0; role < kRoles; ++role) {
        if (fields_[role] != field.key || fields_[role].empty()) continue;
        if (elements[role]) throw lines_.error("the object has two fields ", excerpt(field.key));
        elements[role] = field.value;
      }
    }
    std::array<std::optional<std::string_view>, kRoles> values;
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (elements[role])
        values[role] = scalar(lines_, *elements[role], fields_[role], buffers_[role]);
      const bool required = role != index(Role::rating) && !fields_[role].empty();
      if (values[role] || !required) continue;
      if (elements[role]) {
        throw lines_.error("field '", fields_[role], "' is null; expected ",
                           role == index(Role::timestamp) ? "a number" : "a string or a number",
                           "; leave the line out where it is not known");
      }
      throw lines_.error("field '", fields_[role], "' is missing; the object has ",
                         listed(field_names(object)));
    }
    delivery_.deliver(lines_, {{*values[0], true},
                               {*values[1], true},
                               values[index(Role::timestamp)],
                               values[index(Role::rating)],
                               values[index(Role::label)],
                               lines_.line_number()});
  }

  LineReader lines_;
  const ColumnNames& columns_;
  Delivery& delivery_;
  simdjson::dom::parser parser_;
  bool found_ = false;
  FieldNames fields_;
  std::array<std::array<char, 32>, kRoles> buffers_;
};

}  // namespace

void read_interaction_objects(LineReader lines, const ColumnNames& columns, Delivery& delivery) {
  ObjectReader(std::move(lines), columns, delivery).read();
}

}  // namespace micrec
