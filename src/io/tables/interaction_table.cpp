#include <algorithm>
#include <string>
#include <utility>

#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/csv.h"
#include "io/tables/interaction_delivery.h"
#include "io/tables/table_blocks.h"
#include "io/tables/table_records.h"
#include "io/tables/table_shape.h"

namespace micrec {
namespace {

constexpr std::int64_t kLeastDate = 100'000'000;  // 1973 in Unix seconds

std::string name_of_table(const std::string& separator) {
  if (separator == ",") return "CSV";
  if (separator == "\t") return "TSV";
  return text("table separated by ", separator == " " ? "spaces" : excerpt(separator));
}

/// The separator that a first line `sep=;` names, as Excel writes it.
std::optional<std::string> announced_separator(std::string_view start) {
  std::string_view line = start.substr(0, start.find_first_of("\r\n"));
  if (line.starts_with('"') && line.ends_with('"') && line.size() > 1) {
    line = line.substr(1, line.size() - 2);
  }
  if (line.size() != 5 || small_letters(line.substr(0, 4)) != "sep=" || line[4] == '"') {
    return std::nullopt;
  }
  return std::string(line.substr(4));
}

bool looks_like_asin(std::string_view key) {
  if (key.size() != 10) return false;
  return key[0] == 'B' ||
         std::all_of(key.begin(), key.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
}

/// Two keys, a rating and a date, as Amazon and MovieLens publish them without a header.
bool has_ratings_shape(const std::vector<std::string_view>& fields) {
  constexpr double kMostStars = 10;
  if (fields.size() != 4 || trim(fields[0]).empty() || trim(fields[1]).empty()) return false;
  const auto rating = parse_rating(trim(fields[2]));
  const auto time = parse_integer(trim(fields[3]));
  return rating && *rating >= 0 && *rating <= kMostStars && time && *time >= kLeastDate;
}

class TableReader {
 public:
  TableReader(LineReader lines, TableFormat format, const ColumnNames& columns, Delivery& delivery)
      : format_(std::move(format)),
        columns_(columns),
        delivery_(delivery),
        start_(lines.start()),
        sample_(first_lines(start_, lines.line_feed(), lines.start_is_all())),
        csv_(std::move(lines), csv_format()) {}

  void read() {
    if (skips_announcement_) csv_.next();
    if (!csv_.next()) refuse_empty(csv_.path(), "the file is empty");
    csv_.set_quote_hint("; if quotes are mere characters in this file, give --quotes=none");
    take_header();
    find_columns();
    describe();
    if (columns_.numbers) refuse_header_by_number();
    table_.format = csv_.format();
    table_.asks_about_quotes = !table_.format.quotes && format_.quotes == Quotes::automatic;
    const TableRecords records(table_, csv_.path());
    TableCounts counts;
    if (!table_.has_header) take_record(records, counts);
    LineReader& lines = csv_.lines_to_come();
    while (true) {
      take_blocks(lines, records, delivery_, counts);
      // Quotes: a line end may be in them, so that nobody knows where a later record begins.
      if (!lines.is_given_back()) break;
      while (lines.is_given_back() && csv_.next()) take_record(records, counts);
    }
    if (table_.has_header && counts.records == 0) {
      refuse_empty(csv_.path(), "the file has a header line and nothing else");
    }
    if (counts.records == delivery_.summary().repeated_headers) {
      refuse_empty(csv_.path(), "the file has header lines and nothing else");
    }
    records.refuse_quoted_columns(counts, delivery_.summary().repeated_headers);
  }

 private:
  void take_record(const TableRecords& records, TableCounts& counts) {
    records.take({csv_.path(), csv_.fields(), &csv_, csv_.line_number(), csv_.lines()}, delivery_,
                 counts);
  }

  CsvFormat csv_format() {
    if (const auto announced = announced_separator(start_)) {
      skips_announcement_ = true;
      if (!format_.separator_given) {
        format_.separator = *announced;
        format_.separator_given = true;
      }
    }
    const bool quotes_by_default = format_.separator.size() == 1 && format_.separator != "\t";
    return {format_.separator, format_.quotes == Quotes::automatic
                                   ? quotes_by_default
                                   : format_.quotes == Quotes::twice};
  }

  void take_header() {
    for (const std::string_view field : csv_.fields()) {
      if (!csv_.is_quoted(table_.raw.size()) &&
          field.find_first_of("\r\n") != std::string_view::npos) {
        throw csv_.error(
            "field ", table_.raw.size() + 1, ", ", excerpt(field),
            ", has a line end inside; the line ends of the file are mixed, make all of them LF");
      }
      table_.raw.emplace_back(field);
      table_.names.emplace_back(without_type(trim(field)));
      table_.small.push_back(small_letters(table_.names.back()));
    }
  }

  // --- which column is what ---

  void find_columns() {
    if (columns_.numbers) {
      find_numbered();
    } else if (columns_.given) {
      for (std::size_t role = 0; role < kRoles; ++role) {
        if (!columns_.names[role].empty()) table_.places[role] = find_named(columns_.names[role]);
      }
      table_.has_header = true;
    } else if (has_shape()) {
      // The files of Amazon of 2018 have the item first.
      const auto& fields = csv_.fields();
      const bool item_first = looks_like_asin(fields[0]) && !looks_like_asin(fields[1]);
      table_.places = {item_first ? 1U : 0U, item_first ? 0U : 1U, 3U, 2U, std::nullopt};
      by_shape_ = true;
    } else {
      for (std::size_t role = 0; role < kRoles; ++role) {
        table_.places[role] = find_by_name(static_cast<Role>(role));
      }
      table_.has_header = true;
    }
    if (table_.has_header) refuse_sequences();
    if (!table_.has_header) refuse_other_separator();
    if (delivery_.wants_rating() && !place(Role::rating)) {
      throw csv_.error("a least rating is asked for, but there is no column for ratings; the ",
                       table_.has_header
                           ? text("header has ", listed(table_.names))
                           : text("columns given are ",
                                  join({columns_.names.begin(), columns_.names.begin() + 4}, ",")),
                       "; name it: --columns=USER,ITEM,TIMESTAMP,RATING");
    }
    if (delivery_.wants_label()) {
      if (!place(Role::label)) {
        throw csv_.error(
            "--split=column: no column for the split: expected x_label",
            table_.has_header ? text(" in the header line, got ", listed(table_.names)) : "",
            "; name it: --columns=USER,ITEM,TIMESTAMP,RATING,SPLIT");
      }
    } else if (place(Role::label)) {
      delivery_.summary().unused_label = table_.names[*place(Role::label)];
      table_.places[index(Role::label)].reset();
    }
  }

  std::optional<std::size_t> place(Role role) const { return table_.place(role); }

  void find_numbered() {
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (columns_.names[role].empty()) continue;
      const auto number = static_cast<std::size_t>(*parse_integer(columns_.names[role]));
      if (number > csv_.fields().size()) {
        throw csv_.error("no column ", number, "; the line has ", csv_.fields().size(), " columns",
                         separator_hint());
      }
      table_.places[role] = number - 1;
    }
    delivery_.set_time_hint(
        "; columns given as numbers mean that there is no header line, give names if there is one");
  }

  std::size_t find_named(const std::string& name) const {
    for (const Names* names : {&table_.names, &table_.raw}) {
      const auto found = std::find(names->begin(), names->end(), name);
      if (found == names->end()) continue;
      refuse_second(*names, found - names->begin());
      return static_cast<std::size_t>(found - names->begin());
    }
    throw csv_.error("no column '", name, "'; the header has ", listed(table_.names),
                     did_you_mean(name, table_.names), separator_hint());
  }

  std::optional<std::size_t> find_by_name(Role role) const {
    const Names& names = names_of(role);
    const auto found = find_any(table_.small, names);
    if (found) refuse_second(table_.small, static_cast<std::ptrdiff_t>(*found));
    if (found || (role != Role::user && role != Role::item)) return found;
    std::string hint;
    for (const std::string& name : names) {
      hint = did_you_mean(name, table_.names);
      if (!hint.empty()) break;
    }
    const std::string separator = separator_hint();
    throw csv_.error("no column for the ", word_for(role), "s: expected ", names[0],
                     " in the header line, got ", listed(table_.names), hint, separator,
                     "; name the columns: --columns=USER,ITEM[,TIMESTAMP[,RATING]], as numbers if "
                     "there is no header",
                     delivery_.summary().why == kByName
                         ? ""
                         : text(" (the file is taken for a table ", delivery_.summary().why, ")"));
  }

  void refuse_second(const Names& names, std::ptrdiff_t first) const {
    const auto same = std::find(names.begin() + first + 1, names.end(), names[first]);
    if (same == names.end()) return;
    throw csv_.error("the header has two columns ", excerpt(names[first]), ", ", first + 1, " and ",
                     same - names.begin() + 1, "; take one of them out");
  }

  /// RecBole's files for sequence models hold a history a line, of which an interaction is the end.
  void refuse_sequences() const {
    const std::string& item = table_.names[*place(Role::item)];
    if (!contains(table_.names, item + "_list")) return;
    throw csv_.error("the column ", excerpt(item + "_list"),
                     " holds whole histories; expected a table with an interaction a line, as "
                     "RecBole makes it without benchmark_filename");
  }

  bool has_shape() const {
    return has_ratings_shape(csv_.fields()) &&
           std::all_of(sample_.begin() + (skips_announcement_ ? 1 : 0), sample_.end(),
                       [&](std::string_view line) {
                         return line.find('"') != std::string_view::npos ||
                                has_ratings_shape(fields_of(line, format_.separator));
                       });
  }

  /// "; the fields seem to be separated by ';': --separator=';'", where another one fits better.
  std::string separator_hint() const {
    const auto other = better_separator();
    if (!other) return "";
    return text("; the fields seem to be separated by ",
                *other == "\t"  ? "tabs"
                : *other == " " ? "spaces"
                                : text("'", *other, "'"),
                ": give ", separator_flag(*other));
  }

  std::optional<std::string> better_separator() const {
    if (format_.separator_given) return std::nullopt;
    const auto other = likely_separator(sample_);
    if (!other || *other == format_.separator) return std::nullopt;
    const auto ours = common_width(sample_, format_.separator);
    return !ours || *ours < *common_width(sample_, *other) ? other : std::nullopt;
  }

  /// Columns by number fit any line: `u1;i1;4,5` has two by commas.
  void refuse_other_separator() const {
    const std::string hint = separator_hint();
    if (hint.empty()) return;
    throw csv_.error("it is in doubt what separates the fields of ", excerpt(sample_.front()), hint,
                     ", or ", separator_flag(format_.separator));
  }

  // --- what the file is, in words ---

  void describe() {
    InteractionsSummary& summary = delivery_.summary();
    summary.has_timestamps = place(Role::timestamp).has_value();
    const std::string kind = name_of_table(format_.separator);
    summary.format = text(kind, table_.has_header ? " with header" : " without header");
    if (by_shape_) {
      const bool item_first = *place(Role::item) == 0;
      const char* shape =
          item_first ? " (item, user, rating, time)" : " (user, item, rating, time)";
      const bool amazon = looks_like_asin(csv_.fields()[*place(Role::item)]);
      summary.format = amazon ? text("Amazon ratings", shape) : text(summary.format, shape);
    }
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (!table_.places[role]) continue;
      summary.columns += summary.columns.empty() ? "" : ", ";
      summary.columns += table_.has_header ? printable(table_.names[*table_.places[role]])
                                           : text("column ", *table_.places[role] + 1);
      summary.columns += text(" as ", word_for(static_cast<Role>(role)));
    }
    if (skips_announcement_) summary.columns += "; separated as its first line says";
  }

  // --- headers where none should be ---

  /// Asks about a first line that has known names, or words where the second has numbers.
  void refuse_header_by_number() const {
    const auto is_name = [this](Role role) {
      return contains(names_of(role), table_.small[*place(role)]);
    };
    bool is_header = is_name(Role::user) || is_name(Role::item);
    if (!is_header && sample_.size() > 1 && std::ranges::all_of(table_.raw, is_name_like)) {
      const auto second = fields_of(sample_[1], format_.separator);
      is_header = second.size() == table_.raw.size() &&
                  std::ranges::any_of(second, [](std::string_view field) {
                    return parse_real(trim(field)).has_value();
                  });
    }
    if (is_header) throw csv_.error(first_line_question());
  }

  std::string first_line_question() const {
    Names given;
    for (std::size_t role = 0; role < kRoles; ++role) {
      given.push_back(table_.places[role] ? table_.names[*table_.places[role]] : "");
    }
    while (given.back().empty()) given.pop_back();
    return text("the line looks like a header (", listed(table_.names),
                "), and columns given as numbers mean that there is none; if it is one give names: "
                "--columns=",
                printable(join(given, ",")), ", else take the line out");
  }

  TableFormat format_;
  bool skips_announcement_ = false;
  const ColumnNames& columns_;
  Delivery& delivery_;
  std::string start_;  // of the text, what sample_ looks at
  std::vector<std::string_view> sample_;
  CsvReader csv_;
  TableDescription table_;
  bool by_shape_ = false;
};

}  // namespace

void read_interaction_table(LineReader lines, const TableFormat& format, const ColumnNames& columns,
                            Delivery& delivery) {
  TableReader(std::move(lines), format, columns, delivery).read();
}

}  // namespace micrec
