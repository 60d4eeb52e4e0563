#include "io/interactions_reader.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/csv.h"
#include "io/line_reader.h"

namespace micrec {
namespace {

using Names = std::vector<std::string>;
using Use = std::function<void(const Interaction&)>;

// What a column may be called, the first that is there is taken: ours, Amazon's, MovieLens's.
// Compared in small letters.
const Names& user_names() {
  static const Names names = {"user_id", "reviewerid", "userid", "user", "uid"};
  return names;
}
const Names& item_names() {
  static const Names names = {"item_id", "parent_asin", "asin",      "itemid",  "item",
                              "iid",     "product_id",  "productid", "movieid", "movie_id"};
  return names;
}
const Names& timestamp_names() {
  static const Names names = {"timestamp", "unixreviewtime", "unix_time", "unixtime", "time"};
  return names;
}
const Names& rating_names() {
  static const Names names = {"rating", "overall", "score", "stars"};
  return names;
}

// Seconds stay below this until the year 5138; Amazon's milliseconds are above it since 1973.
constexpr std::int64_t kLeastMilliseconds = 100'000'000'000;
constexpr double kMostExactInteger = 9007199254740992.0;  // 2^53

std::string small_letters(std::string_view value) {
  std::string out(value);
  for (char& letter : out)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return out;
}

std::string_view trim(std::string_view value) {
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  return value;
}

std::optional<std::int64_t> parse_time(std::string_view value) {
  if (const auto whole = parse_integer(value)) return whole;
  const auto real = parse_real(value);
  if (!real || !(std::abs(*real) < kMostExactInteger)) return std::nullopt;
  return static_cast<std::int64_t>(std::floor(*real));
}

std::optional<double> parse_rating(std::string_view value) {
  const auto rating = parse_real(value);
  return rating && std::isfinite(*rating) ? rating : std::nullopt;
}

/// --columns as it was given: the user's, item's, timestamp's and rating's; empty where not given.
struct ColumnNames {
  std::array<std::string, 4> names;
  bool given = false;
  bool numbers = false;
};

ColumnNames parse_columns(const std::string& columns) {
  ColumnNames out;
  const Names parts = split(columns, ',');
  if (parts.empty()) return out;
  out.given = true;
  int numbers = 0;
  int named = 0;
  for (std::size_t i = 0; i < parts.size() && i < out.names.size(); ++i) {
    out.names[i] = std::string(trim(parts[i]));
    if (out.names[i].empty()) continue;
    const auto number = parse_integer(out.names[i]);
    ++(number && *number >= 1 ? numbers : named);
  }
  if (parts.size() < 2 || parts.size() > 4 || out.names[0].empty() || out.names[1].empty() ||
      (numbers > 0 && named > 0)) {
    throw Error(Cause::usage,
                text("columns ", excerpt(columns),
                     ": expected user,item[,timestamp[,rating]], all of them names or "
                     "all numbers from 1, for example user_id,item_id,timestamp or 1,2,4"));
  }
  out.numbers = numbers > 0;
  return out;
}

/// What all kinds of files have in common: checks a record, filters it and hands it on.
class Delivery {
 public:
  Delivery(const InteractionsOptions& options, const Use& use)
      : min_rating_(options.min_rating), use_(use) {}

  bool wants_rating() const { return min_rating_.has_value(); }

  /// `source` gives the error with file and line. Texts are nullopt where the file has no such
  /// column.
  template <typename Source>
  void deliver(const Source& source, std::string_view user, std::string_view item,
               std::optional<std::string_view> time, std::optional<std::string_view> rating,
               std::int64_t line) {
    Interaction out;
    out.user = trim(user);
    out.item = trim(item);
    out.line = line;
    check_key(source, "user", out.user);
    check_key(source, "item", out.item);
    if (time) {
      out.timestamp = parse_time(trim(*time));
      if (!out.timestamp) {
        throw source.error(text("expected a time as a number (Unix seconds), got ", excerpt(*time),
                                looks_like_date(*time) ? "; convert dates to Unix seconds" : "",
                                time_hint_));
      }
      if (may_be_milliseconds_ && summary_.interactions + summary_.below_min_rating == 0) {
        milliseconds_ = *out.timestamp >= kLeastMilliseconds;
      }
      if (milliseconds_) out.timestamp = *out.timestamp / 1000;
    }
    if (rating && !trim(*rating).empty()) {
      out.rating = parse_rating(trim(*rating));
      if (!out.rating)
        throw source.error(text("expected a rating as a number, got ", excerpt(*rating)));
    }
    if (min_rating_) {
      if (!out.rating) throw source.error("the rating is missing, but a least rating is asked for");
      if (*out.rating < *min_rating_) {
        ++summary_.below_min_rating;
        return;
      }
    }
    ++summary_.interactions;
    use_(out);
  }

  /// Said after an unreadable time, where it tells more than that.
  void set_time_hint(std::string hint) { time_hint_ = std::move(hint); }
  /// The file has the columns of Amazon 2023, whose times are milliseconds.
  void set_may_be_milliseconds(bool value) { may_be_milliseconds_ = value; }
  InteractionsSummary& summary() { return summary_; }

 private:
  template <typename Source>
  static void check_key(const Source& source, const char* what, std::string_view key) {
    if (key.empty()) throw source.error(text("the ", what, " key is empty"));
    if (!simdjson::validate_utf8(key.data(), key.size())) {
      throw source.error(text("the ", what, " key is not UTF-8; convert the file to UTF-8"));
    }
    if (key.find('\0') != std::string_view::npos)
      throw source.error(text("the ", what, " key has a zero byte inside"));
  }

  static bool looks_like_date(std::string_view value) {
    return value.find_first_of("-/:", 1) != std::string_view::npos &&
           value.find_first_of("0123456789") != std::string_view::npos;
  }

  std::optional<double> min_rating_;
  const Use& use_;
  bool may_be_milliseconds_ = false;
  bool milliseconds_ = false;
  std::string time_hint_;
  InteractionsSummary summary_;
};

[[noreturn]] void refuse_empty(const std::string& path, const char* what) {
  throw Error(Cause::data, text(path, ": ", what, "; expected interactions of users and items"));
}

// --- CSV and TSV ---

struct ColumnNumbers {
  std::size_t user = 0;
  std::size_t item = 0;
  std::optional<std::size_t> timestamp;
  std::optional<std::size_t> rating;
};

std::optional<std::size_t> find_any(const Names& header, const Names& candidates) {
  for (const std::string& name : candidates) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  }
  return std::nullopt;
}

std::string did_you_mean(std::string_view name, const Names& there) {
  const auto near = nearest(name, there);
  return near ? text("; did you mean ", excerpt(*near), "?") : "";
}

std::size_t find_named(const CsvReader& csv, const Names& header, const std::string& name) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  throw csv.error(
      text("no column '", name, "'; the header has ", listed(header), did_you_mean(name, header)));
}

std::optional<ColumnNumbers> find_numbered(const CsvReader& csv, const ColumnNames& columns) {
  std::array<std::optional<std::size_t>, 4> at;
  for (std::size_t i = 0; i < at.size(); ++i) {
    if (columns.names[i].empty()) continue;
    const auto number = static_cast<std::size_t>(*parse_integer(columns.names[i]));
    if (number > csv.fields().size()) {
      throw csv.error(
          text("no column ", number, "; the line has ", csv.fields().size(), " columns"));
    }
    at[i] = number - 1;
  }
  return ColumnNumbers{*at[0], *at[1], at[2], at[3]};
}

bool looks_like_asin(std::string_view key) {
  if (key.size() != 10) return false;
  return key[0] == 'B' ||
         std::all_of(key.begin(), key.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
}

/// Columns of Amazon's headerless ratings_*.csv: two keys, a rating from 1 to 5, a time.
std::optional<ColumnNumbers> find_amazon_ratings(const std::vector<std::string_view>& fields) {
  if (fields.size() != 4) return std::nullopt;
  const auto rating = parse_rating(fields[2]);
  const auto time = parse_integer(fields[3]);
  if (!rating || *rating < 1 || *rating > 5 || !time || fields[0].empty() || fields[1].empty())
    return std::nullopt;
  // The files of 2018 have the item first.
  const bool item_first = looks_like_asin(fields[0]) && !looks_like_asin(fields[1]);
  return ColumnNumbers{item_first ? 1U : 0U, item_first ? 0U : 1U, 3U, 2U};
}

[[noreturn]] void refuse_header(const CsvReader& csv, const Names& header, const char* what,
                                const Names& names) {
  std::string hint;
  for (const std::string& name : names) {
    hint = did_you_mean(name, header);
    if (!hint.empty()) break;
  }
  throw csv.error(text("no column for the ", what, ": expected ", names[0],
                       " in the header line, got ", listed(header), hint,
                       "; name the columns: --columns=USER,ITEM[,TIMESTAMP[,RATING]], as numbers "
                       "if there is no header"));
}

void read_csv(const std::string& path, char separator, const ColumnNames& columns,
              Delivery& delivery) {
  CsvReader csv(path, separator);
  if (!csv.next()) refuse_empty(path, "the file is empty");
  const char* kind = separator == '\t' ? "TSV" : "CSV";
  Names header;
  for (const std::string_view field : csv.fields()) header.emplace_back(trim(field));
  Names small;
  for (const std::string& name : header) small.push_back(small_letters(name));

  std::optional<ColumnNumbers> at;
  bool has_header = false;
  std::string& format = delivery.summary().format;
  if (columns.numbers) {
    at = find_numbered(csv, columns);
    format = text(kind, " without header");
    delivery.set_time_hint(
        "; columns given as numbers mean that there is no header line, give names if there is one");
  } else if (columns.given) {
    at = ColumnNumbers{find_named(csv, header, columns.names[0]),
                       find_named(csv, header, columns.names[1]),
                       {},
                       {}};
    if (!columns.names[2].empty()) at->timestamp = find_named(csv, header, columns.names[2]);
    if (!columns.names[3].empty()) at->rating = find_named(csv, header, columns.names[3]);
    has_header = true;
  } else if ((at = find_amazon_ratings(csv.fields()))) {
    format = at->user == 0 ? "Amazon ratings (user, item, rating, time)"
                           : "Amazon ratings (item, user, rating, time)";
  } else {
    const auto user = find_any(small, user_names());
    const auto item = find_any(small, item_names());
    if (!user) refuse_header(csv, header, "users", user_names());
    if (!item) refuse_header(csv, header, "items", item_names());
    at = ColumnNumbers{*user, *item, find_any(small, timestamp_names()),
                       find_any(small, rating_names())};
    has_header = true;
    delivery.set_may_be_milliseconds(at->timestamp && small[*user] == "user_id" &&
                                     small[*at->timestamp] == "timestamp" &&
                                     (small[*item] == "parent_asin" || small[*item] == "asin"));
  }
  if (has_header) format = text(kind, " with header");
  if (delivery.wants_rating() && !at->rating) {
    throw csv.error(text("a least rating is asked for, but there is no column for ratings; the ",
                         has_header ? text("header has ", listed(header))
                                    : text("columns given are ",
                                           join({columns.names.begin(), columns.names.end()}, ",")),
                         "; name it: --columns=USER,ITEM,TIMESTAMP,RATING"));
  }
  delivery.summary().has_timestamps = at->timestamp.has_value();

  bool more = !has_header || csv.next();
  if (!more) refuse_empty(path, "the file has a header line and nothing else");
  for (; more; more = csv.next()) {
    const std::vector<std::string_view>& fields = csv.fields();
    if (fields.size() != header.size()) {
      throw csv.error(
          text("expected ", header.size(), " fields as in the first line, got ", fields.size()));
    }
    const auto field =
        [&fields](std::optional<std::size_t> number) -> std::optional<std::string_view> {
      if (!number) return std::nullopt;
      return fields[*number];
    };
    delivery.deliver(csv, fields[at->user], fields[at->item], field(at->timestamp),
                     field(at->rating), csv.line_number());
  }
}

// --- JSON lines ---

Names field_names(simdjson::dom::object object) {
  Names names;
  for (const auto field : object) names.emplace_back(field.key);
  return names;
}

struct FieldNames {
  std::string user;
  std::string item;
  std::string timestamp;  // empty: none
  std::string rating;     // empty: none
};

/// The fields' names in the file, of a first object.
FieldNames find_fields(const LineReader& lines, simdjson::dom::object object,
                       const ColumnNames& columns) {
  const Names names = field_names(object);
  if (columns.numbers) {
    throw Error(
        Cause::usage,
        text(lines.path(), ": columns of a JSON file are given by name; it has ", listed(names)));
  }
  if (columns.given) {
    for (const std::string& name : columns.names) {
      if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) continue;
      throw lines.error(
          text("no field '", name, "'; the object has ", listed(names), did_you_mean(name, names)));
    }
    return {columns.names[0], columns.names[1], columns.names[2], columns.names[3]};
  }
  Names small;
  for (const std::string& name : names) small.push_back(small_letters(name));
  const auto required = [&](const char* what, const char* expected, const Names& candidates) {
    const auto at = find_any(small, candidates);
    if (at) return names[*at];
    throw lines.error(text("no field for the ", what, ": expected ", expected, ", got ",
                           listed(names),
                           "; name the fields: --columns=USER,ITEM[,TIMESTAMP[,RATING]]"));
  };
  const auto optional = [&](const Names& candidates) {
    const auto at = find_any(small, candidates);
    return at ? names[*at] : std::string();
  };
  return {required("user", "reviewerID (Amazon 2014, 2018) or user_id", user_names()),
          required("item", "asin, parent_asin (Amazon) or item_id", item_names()),
          optional(timestamp_names()), optional(rating_names())};
}

/// A scalar of an object as text; numbers are written into `buffer`. Nothing where it is missing or
/// null.
std::optional<std::string_view> scalar(const LineReader& lines, simdjson::dom::object object,
                                       const std::string& name, std::array<char, 32>& buffer) {
  simdjson::dom::element element;
  if (object.at_key(name).get(element) != simdjson::SUCCESS || element.is_null())
    return std::nullopt;
  std::string_view letters;
  if (element.get(letters) == simdjson::SUCCESS) return letters;
  const auto written = [&](auto number) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
    return std::string_view(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  };
  std::int64_t whole = 0;
  if (element.get(whole) == simdjson::SUCCESS) return written(whole);
  double real = 0;
  if (element.is_double() && element.get(real) == simdjson::SUCCESS) return written(real);
  throw lines.error(text("field '", name, "': expected a string or a number, got ",
                         element.is_array()    ? "an array"
                         : element.is_object() ? "an object"
                                               : "another value"));
}

void read_json(const std::string& path, const ColumnNames& columns, Delivery& delivery) {
  LineReader lines(path);
  simdjson::dom::parser parser;
  std::string_view line;
  std::optional<FieldNames> fields;
  std::array<std::array<char, 32>, 4> buffers;
  while (lines.next(&line)) {
    if (trim(line).empty()) continue;
    simdjson::dom::element element;
    if (const auto error = parser.parse(line.data(), line.size()).get(element)) {
      throw lines.error(text("broken JSON (", simdjson::error_message(error),
                             "): expected an object a line, got ", excerpt(line)));
    }
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) {
      throw lines.error(
          text("expected a JSON object a line, got ", excerpt(line),
               element.is_array() ? "; write each element of the array on a line of its own" : ""));
    }
    if (!fields) {
      fields = find_fields(lines, object, columns);
      const std::string item = small_letters(fields->item);
      const bool amazon = item == "asin" || item == "parent_asin";
      const bool amazon_2023 =
          amazon && fields->user == "user_id" && fields->timestamp == "timestamp";
      delivery.set_may_be_milliseconds(amazon_2023);
      delivery.summary().format = amazon_2023 ? "Amazon reviews of 2023 (JSON lines)"
                                  : amazon && fields->user == "reviewerID"
                                      ? "Amazon reviews of 2014 or 2018 (JSON lines)"
                                      : "JSON lines";
      delivery.summary().has_timestamps = !fields->timestamp.empty();
      if (delivery.wants_rating() && fields->rating.empty()) {
        throw lines.error(
            text("a least rating is asked for, but there is no field for ratings; the object has ",
                 listed(field_names(object)), "; name it: --columns=USER,ITEM,TIMESTAMP,RATING"));
      }
    }
    const auto required = [&](const std::string& name, std::array<char, 32>& buffer) {
      const auto value = scalar(lines, object, name, buffer);
      if (value) return *value;
      throw lines.error(
          text("field '", name, "' is missing; the object has ", listed(field_names(object))));
    };
    const std::string_view user = required(fields->user, buffers[0]);
    const std::string_view item = required(fields->item, buffers[1]);
    std::optional<std::string_view> time;
    std::optional<std::string_view> rating;
    if (!fields->timestamp.empty()) time = required(fields->timestamp, buffers[2]);
    if (!fields->rating.empty()) rating = scalar(lines, object, fields->rating, buffers[3]);
    delivery.deliver(lines, user, item, time, rating, lines.line_number());
  }
  if (!fields) refuse_empty(path, "the file is empty");
}

// --- LightGCN's split ---

void read_adjacency(const std::string& path, const ColumnNames& columns, Delivery& delivery) {
  if (columns.given || delivery.wants_rating()) {
    throw Error(
        Cause::usage,
        text(path,
             ": a .txt file holds lines 'user item item ...' and has neither columns nor ratings; "
             "leave --columns and --min_rating out, or name a table .csv or .tsv"));
  }
  LineReader lines(path);
  delivery.summary().format = "LightGCN's lines 'user item item ...'";
  std::string_view line;
  while (lines.next(&line)) {
    std::string_view user;
    for (std::size_t at = 0; at < line.size();) {
      if (line[at] == ' ' || line[at] == '\t') {
        ++at;
        continue;
      }
      const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
      const std::string_view word = line.substr(at, end - at);
      at = end;
      const auto number = parse_integer(word);
      if (!number || *number < 0) {
        throw lines.error(text("expected whole numbers 'user item item ...', got ", excerpt(word),
                               "; a table with other keys must be named .csv or .tsv"));
      }
      if (user.empty()) {
        user = word;
      } else {
        delivery.deliver(lines, user, word, std::nullopt, std::nullopt, lines.line_number());
      }
    }
  }
  if (lines.line_number() == 0) refuse_empty(path, "the file is empty");
  if (delivery.summary().interactions == 0) refuse_empty(path, "no line has an item");
}

}  // namespace

InteractionsSummary for_each_interaction(const std::string& path,
                                         const InteractionsOptions& options, const Use& use) {
  const ColumnNames columns = parse_columns(options.columns);
  Delivery delivery(options, use);
  std::string name = small_letters(std::filesystem::path(path).filename().string());
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  const std::string kind = std::filesystem::path(name).extension().string();
  if (kind == ".csv") {
    read_csv(path, ',', columns, delivery);
  } else if (kind == ".tsv") {
    read_csv(path, '\t', columns, delivery);
  } else if (kind == ".json" || kind == ".jsonl") {
    read_json(path, columns, delivery);
  } else if (kind == ".txt") {
    read_adjacency(path, columns, delivery);
  } else {
    throw Error(Cause::usage, text(path,
                                   ": unknown kind of file; expected .csv, .tsv, .json, .jsonl or "
                                   ".txt, each also with .gz"));
  }
  return delivery.summary();
}

}  // namespace micrec
