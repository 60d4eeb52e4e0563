#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/csv.h"
#include "io/interaction_delivery.h"
#include "io/table_shape.h"

namespace micrec {
namespace {

constexpr std::int64_t kLeastDate = 100'000'000;  // 1973 in Unix seconds

/// The place of every role's column.
using Places = std::array<std::optional<std::size_t>, kRoles>;

/// The first record of a table, which may be a header.
struct Header {
  Names raw;    // as it stands there
  Names names;  // without spaces and RecBole's types
  Names small;  // those in small letters
};

/// RecBole writes `user_id:token`.
std::string_view without_type(std::string_view name) {
  for (const std::string_view type : {":token", ":float", ":token_seq", ":float_seq"}) {
    if (name.ends_with(type)) return name.substr(0, name.size() - type.size());
  }
  return name;
}

std::string_view without_mark(std::string_view value) {
  if (value.starts_with("\xEF\xBB\xBF")) value.remove_prefix(3);
  return value;
}

bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

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

bool is_name_like(std::string_view field) {
  return !field.empty() && std::none_of(field.begin(), field.end(),
                                        [](char letter) { return letter >= '0' && letter <= '9'; });
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
    bool more = !has_header_ || csv_.next();
    if (!more) refuse_empty(csv_.path(), "the file has a header line and nothing else");
    std::int64_t records = 0;
    for (; more; more = csv_.next()) {
      deliver();
      ++records;
    }
    if (records == delivery_.summary().repeated_headers) {
      refuse_empty(csv_.path(), "the file has header lines and nothing else");
    }
    refuse_quoted_column(Role::user, records);
    refuse_quoted_column(Role::item, records);
  }

 private:
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
      if (!csv_.is_quoted(header_.raw.size()) &&
          field.find_first_of("\r\n") != std::string_view::npos) {
        throw csv_.error(text("field ", header_.raw.size() + 1, ", ", excerpt(field),
                              ", has a line end inside; the line ends of the file are mixed, make "
                              "all of them LF"));
      }
      header_.raw.emplace_back(field);
      header_.names.emplace_back(without_type(trim(field)));
      header_.small.push_back(small_letters(header_.names.back()));
    }
  }

  // --- which column is what ---

  void find_columns() {
    if (columns_.numbers) {
      find_numbered();
    } else if (columns_.given) {
      for (std::size_t role = 0; role < kRoles; ++role) {
        if (!columns_.names[role].empty()) places_[role] = find_named(columns_.names[role]);
      }
      has_header_ = true;
    } else if (has_shape()) {
      // The files of Amazon of 2018 have the item first.
      const auto& fields = csv_.fields();
      const bool item_first = looks_like_asin(fields[0]) && !looks_like_asin(fields[1]);
      places_ = {item_first ? 1U : 0U, item_first ? 0U : 1U, 3U, 2U, std::nullopt};
      by_shape_ = true;
    } else {
      for (std::size_t role = 0; role < kRoles; ++role) {
        places_[role] = find_by_name(static_cast<Role>(role));
      }
      has_header_ = true;
    }
    if (has_header_) refuse_sequences();
    if (!has_header_) refuse_other_separator();
    if (delivery_.wants_rating() && !place(Role::rating)) {
      throw csv_.error(
          text("a least rating is asked for, but there is no column for ratings; the ",
               has_header_ ? text("header has ", listed(header_.names))
                           : text("columns given are ",
                                  join({columns_.names.begin(), columns_.names.begin() + 4}, ",")),
               "; name it: --columns=USER,ITEM,TIMESTAMP,RATING"));
    }
    if (delivery_.wants_label()) {
      if (!place(Role::label)) {
        throw csv_.error(
            text("--split=column: no column for the split: expected x_label",
                 has_header_ ? text(" in the header line, got ", listed(header_.names)) : "",
                 "; name it: --columns=USER,ITEM,TIMESTAMP,RATING,SPLIT"));
      }
    } else if (place(Role::label)) {
      delivery_.summary().unused_label = header_.names[*place(Role::label)];
      places_[index(Role::label)].reset();
    }
  }

  std::optional<std::size_t> place(Role role) const { return places_[index(role)]; }

  void find_numbered() {
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (columns_.names[role].empty()) continue;
      const auto number = static_cast<std::size_t>(*parse_integer(columns_.names[role]));
      if (number > csv_.fields().size()) {
        throw csv_.error(text("no column ", number, "; the line has ", csv_.fields().size(),
                              " columns", separator_hint()));
      }
      places_[role] = number - 1;
    }
    delivery_.set_time_hint(
        "; columns given as numbers mean that there is no header line, give names if there is one");
  }

  std::size_t find_named(const std::string& name) const {
    for (const Names* names : {&header_.names, &header_.raw}) {
      const auto found = std::find(names->begin(), names->end(), name);
      if (found == names->end()) continue;
      refuse_second(*names, found - names->begin());
      return static_cast<std::size_t>(found - names->begin());
    }
    throw csv_.error(text("no column '", name, "'; the header has ", listed(header_.names),
                          did_you_mean(name, header_.names), separator_hint()));
  }

  std::optional<std::size_t> find_by_name(Role role) const {
    const Names& names = names_of(role);
    const auto found = find_any(header_.small, names);
    if (found) refuse_second(header_.small, static_cast<std::ptrdiff_t>(*found));
    if (found || (role != Role::user && role != Role::item)) return found;
    std::string hint;
    for (const std::string& name : names) {
      hint = did_you_mean(name, header_.names);
      if (!hint.empty()) break;
    }
    const std::string separator = separator_hint();
    throw csv_.error(
        text("no column for the ", word_for(role), "s: expected ", names[0],
             " in the header line, got ", listed(header_.names), hint, separator,
             "; name the columns: --columns=USER,ITEM[,TIMESTAMP[,RATING]], as "
             "numbers if there is no header",
             delivery_.summary().why == kByName
                 ? ""
                 : text(" (the file is taken for a table ", delivery_.summary().why, ")")));
  }

  void refuse_second(const Names& names, std::ptrdiff_t first) const {
    const auto same = std::find(names.begin() + first + 1, names.end(), names[first]);
    if (same == names.end()) return;
    throw csv_.error(text("the header has two columns ", excerpt(names[first]), ", ", first + 1,
                          " and ", same - names.begin() + 1, "; take one of them out"));
  }

  /// RecBole's files for sequence models hold a history a line, of which an interaction is the end.
  void refuse_sequences() const {
    const std::string& item = header_.names[*place(Role::item)];
    if (!contains(header_.names, item + "_list")) return;
    throw csv_.error(text("the column ", excerpt(item + "_list"),
                          " holds whole histories; expected a table with an interaction a line, "
                          "as RecBole makes it without benchmark_filename"));
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
    throw csv_.error(text("it is in doubt what separates the fields of ", excerpt(sample_.front()),
                          hint, ", or ", separator_flag(format_.separator)));
  }

  // --- what the file is, in words ---

  void describe() {
    InteractionsSummary& summary = delivery_.summary();
    summary.has_timestamps = place(Role::timestamp).has_value();
    const std::string kind = name_of_table(format_.separator);
    summary.format = text(kind, has_header_ ? " with header" : " without header");
    if (by_shape_) {
      const bool item_first = *place(Role::item) == 0;
      const char* shape =
          item_first ? " (item, user, rating, time)" : " (user, item, rating, time)";
      const bool amazon = looks_like_asin(csv_.fields()[*place(Role::item)]);
      summary.format = amazon ? text("Amazon ratings", shape) : text(summary.format, shape);
    }
    for (std::size_t role = 0; role < kRoles; ++role) {
      if (!places_[role]) continue;
      summary.columns += summary.columns.empty() ? "" : ", ";
      summary.columns += has_header_ ? printable(header_.names[*places_[role]])
                                     : text("column ", *places_[role] + 1);
      summary.columns += text(" as ", word_for(static_cast<Role>(role)));
    }
    if (skips_announcement_) summary.columns += "; separated as its first line says";
  }

  // --- headers where none should be ---

  /// Asks about a first line that has known names, or words where the second has numbers.
  void refuse_header_by_number() const {
    const auto is_name = [this](Role role) {
      return contains(names_of(role), header_.small[*place(role)]);
    };
    bool is_header = is_name(Role::user) || is_name(Role::item);
    if (!is_header && sample_.size() > 1 &&
        std::all_of(header_.raw.begin(), header_.raw.end(), is_name_like)) {
      const auto second = fields_of(sample_[1], format_.separator);
      is_header = second.size() == header_.raw.size() &&
                  std::any_of(second.begin(), second.end(), [](std::string_view field) {
                    return parse_real(trim(field)).has_value();
                  });
    }
    if (is_header) throw csv_.error(first_line_question());
  }

  std::string first_line_question() const {
    Names given;
    for (std::size_t role = 0; role < kRoles; ++role) {
      given.push_back(places_[role] ? header_.names[*places_[role]] : "");
    }
    while (given.back().empty()) given.pop_back();
    return text("the line looks like a header (", listed(header_.names),
                "), and columns given as numbers mean that there is none; if it is one give names: "
                "--columns=",
                printable(join(given, ",")), ", else take the line out");
  }

  bool repeats_header(const std::vector<std::string_view>& fields) const {
    const std::size_t user = *place(Role::user);
    const std::size_t item = *place(Role::item);
    // One of the two is enough to tell nearly all records from it, the other may have a mark.
    if (fields[user] != header_.raw[user] && fields[item] != header_.raw[item]) return false;
    if (without_mark(fields[0]) != header_.raw[0]) return false;
    return std::equal(fields.begin() + 1, fields.end(), header_.raw.begin() + 1);
  }

  /// A header line of another file that was joined to this one.
  bool is_other_header(const std::vector<std::string_view>& fields) const {
    constexpr std::size_t kLongestName = 32;
    const std::string_view user = without_mark(trim(fields[*place(Role::user)]));
    const std::string_view item = without_mark(trim(fields[*place(Role::item)]));
    if (user.size() > kLongestName || item.size() > kLongestName) return false;
    if (!is_name_like(user) || !is_name_like(item)) return false;
    const auto is_name = [this](Role role, std::string_view field) {
      const std::string name = small_letters(without_type(field));
      return contains(names_of(role), name) || (has_header_ && name == header_.small[*place(role)]);
    };
    return (is_name(Role::user, user) && is_name(Role::item, item)) ||
           (is_name(Role::item, user) && is_name(Role::user, item));
  }

  // --- records ---

  void deliver() {
    const std::vector<std::string_view>& fields = csv_.fields();
    if (csv_.lines() > 1) check_fields_over_lines();
    if (fields.size() != header_.raw.size()) {
      const bool may_hold = csv_.format().quotes && fields.size() > header_.raw.size();
      throw csv_.error(text("expected ", header_.raw.size(), " fields as in the first line, got ",
                            fields.size(),
                            may_hold ? text("; a field that holds ", excerpt(format_.separator),
                                            " is written in double quotes")
                                     : ""));
    }
    if (has_header_ && repeats_header(fields)) {
      ++delivery_.summary().repeated_headers;
      return;
    }
    if (is_other_header(fields)) {
      throw csv_.error(
          text("the line looks like the header of another file that was joined to "
               "this one (",
               listed({fields.begin(), fields.end()}),
               "); give all of them the same header, or take the line out"));
    }
    if (!csv_.format().quotes && format_.quotes == Quotes::automatic) {
      check_quotes_of_key(Role::user);
      check_quotes_of_key(Role::item);
    }
    const auto field = [&](Role role) -> std::optional<std::string_view> {
      if (!place(role)) return std::nullopt;
      return fields[*place(role)];
    };
    const auto key = [&](Role role) {
      return Delivery::Key{fields[*place(role)], csv_.is_quoted(*place(role))};
    };
    delivery_.deliver(csv_, {key(Role::user), key(Role::item), field(Role::timestamp),
                             field(Role::rating), field(Role::label), csv_.line_number()});
  }

  // --- quotes ---

  /// A quote that was never meant to open a field takes the records up to the next one into it.
  void check_fields_over_lines() {
    for (std::size_t f = 0; f < csv_.fields().size(); ++f) {
      const std::string_view field = csv_.fields()[f];
      if (!csv_.is_quoted(f) || field.find_first_of("\r\n") == std::string_view::npos) continue;
      ++delivery_.summary().fields_over_lines;
      std::size_t begin = field.find_first_of("\r\n") + 1;
      while (begin <= field.size()) {
        const std::size_t end = std::min(field.find_first_of("\r\n", begin), field.size());
        const std::string_view line = field.substr(begin, end - begin);
        if (looks_like_record(line, end == field.size())) {
          throw csv_.error(text(
              "field ", f + 1,
              " opens a quote, and what it holds looks like a record of its own: ", excerpt(line),
              "; close the quote, or if quotes are mere characters in this file give "
              "--quotes=none"));
        }
        begin = end + 1;
      }
    }
  }

  /// `is_last`: the line ended with the quote that closes the field, which may be the opening one
  /// of another.
  bool looks_like_record(std::string_view line, bool is_last) const {
    const std::vector<std::string_view> fields = fields_of(line, format_.separator);
    const std::size_t whole = is_last ? fields.size() - 1 : fields.size();
    if (is_last ? !fields.back().empty() || fields.size() > header_.raw.size()
                : fields.size() != header_.raw.size()) {
      return false;
    }
    for (const Role role : {Role::user, Role::item}) {
      if (*place(role) >= whole) return false;
      const std::string_view key = fields[*place(role)];
      if (key.empty() || key.find_first_of(" \t") != std::string_view::npos) return false;
    }
    const auto time = place(Role::timestamp);
    if (time && *time < whole && !parse_time(trim(fields[*time]))) return false;
    const auto rating = place(Role::rating);
    return !rating || *rating >= whole || trim(fields[*rating]).empty() ||
           parse_rating(trim(fields[*rating])).has_value();
  }

  /// In a table of tabs a quote is a character, unless the whole shows that fields were put in
  /// quotes.
  void check_quotes_of_key(Role role) {
    const std::string_view key = csv_.fields()[*place(role)];
    if (!key.starts_with('"')) return;
    const auto quotes = std::count(key.begin(), key.end(), '"');
    const bool closed = key.size() > 1 && key.ends_with('"');
    if (closed) {
      ++quoted_[index(role)];
      if (quoted_[index(role)] == 1) first_quoted_line_[index(role)] = csv_.line_number();
    }
    bool all_doubled = closed && quotes > 2;
    if (all_doubled) {
      const std::string_view inside = key.substr(1, key.size() - 2);
      for (std::size_t at = inside.find('"'); all_doubled && at != std::string_view::npos;
           at = inside.find('"', at + 2)) {
        all_doubled = at + 1 < inside.size() && inside[at + 1] == '"';
      }
    }
    if (quotes % 2 == 0 && !all_doubled) return;
    throw csv_.error(quote_question(role, key));
  }

  std::string quote_question(Role role, std::string_view key) const {
    return text("the ", word_for(role), " key ", excerpt(key), " ",
                key.size() > 1 && key.ends_with('"') ? "is in quotes" : "opens a quote",
                ", which in a table of tabs is a character; give --quotes=none to keep it, or "
                "--quotes=twice if fields are in quotes here as in CSV");
  }

  void refuse_quoted_column(Role role, std::int64_t records) const {
    if (records == 0 || quoted_[index(role)] < records - delivery_.summary().repeated_headers) {
      return;
    }
    throw Error(Cause::data,
                text(csv_.path(), ":", first_quoted_line_[index(role)], ": every ", word_for(role),
                     " key of the file is in quotes, which in a table of tabs are characters; give "
                     "--quotes=none to keep them, or --quotes=twice if fields are in quotes here "
                     "as in CSV"));
  }

  TableFormat format_;
  bool skips_announcement_ = false;
  const ColumnNames& columns_;
  Delivery& delivery_;
  std::string start_;  // of the text, what sample_ looks at
  std::vector<std::string_view> sample_;
  CsvReader csv_;
  Header header_;
  Places places_;
  bool has_header_ = false;
  bool by_shape_ = false;
  std::array<std::int64_t, kRoles> quoted_ = {};
  std::array<std::int64_t, kRoles> first_quoted_line_ = {};
};

}  // namespace

void read_interaction_table(LineReader lines, const TableFormat& format, const ColumnNames& columns,
                            Delivery& delivery) {
  TableReader(std::move(lines), format, columns, delivery).read();
}

}  // namespace micrec
