#include "io/tables/table_records.h"

#include <simdjson.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/table_shape.h"

namespace micrec {
namespace {

constexpr char kFirstOfMark = '\xEF';  // of a byte order mark

std::string_view without_mark(std::string_view value) {
  if (value.starts_with("\xEF\xBB\xBF")) value.remove_prefix(3);
  return value;
}

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

bool is_blank(char letter) { return letter == ' ' || letter == '\t'; }

/// A key in which take() would find nothing to do: no blanks around it, no mark, no quotes.
bool is_plain_key(std::string_view key) {
  if (key.empty() || is_blank(key.front()) || is_blank(key.back())) return false;
  return key.front() != kFirstOfMark && key.front() != '"';
}

/// Their last letters tell most keys from the name of their column.
bool is_same(std::string_view key, std::string_view name) {
  return key.size() == name.size() && key.back() == name.back() && key == name;
}

/// Names of columns have no digit.
bool has_digit(std::string_view key) { return is_digit(key.back()) || !is_name_like(key); }

/// The first eight letters as digits side by side, added up in pairs, fours and all of them.
bool parse_eight(std::string_view from, std::int64_t* number) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  std::uint64_t word;
  std::memcpy(&word, from.data(), sizeof word);
  const std::uint64_t digits = word - '0' * kOnes;
  // A letter below '0' borrows, one above '9' carries into its high half.
  if (((digits | (digits + 6 * kOnes)) & 0xF0 * kOnes) != 0) return false;
  const std::uint64_t pairs = (digits * 10 + (digits >> 8)) & 0x00FF00FF00FF00FF;
  const std::uint64_t fours = (pairs * 100 + (pairs >> 16)) & 0x0000FFFF0000FFFF;
  *number = static_cast<std::int64_t>((fours * 10'000 + (fours >> 32)) & 0xFFFFFFFF);
  return true;
}

/// A whole number of at most 18 digits, which fit into 64 bits.
bool parse_plain(std::string_view value, std::int64_t* number) {
  if (value.empty() || value.size() > 18) return false;
  std::int64_t sum = 0;
  for (; value.size() >= 8; value.remove_prefix(8)) {
    std::int64_t eight = 0;
    if (!parse_eight(value, &eight)) return false;
    sum = 100'000'000 * sum + eight;
  }
  for (const char letter : value) {
    if (!is_digit(letter)) return false;
    sum = 10 * sum + (letter - '0');
  }
  *number = sum;
  return true;
}

/// "4" and "4.5", as ratings mostly are.
bool parse_plain_rating(std::string_view value, double* rating) {
  if (value.size() == 1 && is_digit(value[0])) {
    *rating = value[0] - '0';
    return true;
  }
  if (value.size() == 3 && is_digit(value[0]) && value[1] == '.' && is_digit(value[2])) {
    *rating = (10 * (value[0] - '0') + (value[2] - '0')) / 10.0;
    return true;
  }
  const auto parsed = parse_rating(value);
  if (parsed) *rating = *parsed;
  return parsed.has_value();
}

/// Where two letters stand in a text, and its end where the second does not stand there. First of
/// all comes the place before the text, -1.
std::vector<std::uint32_t> places_of(std::string_view text, char one, char last) {
  std::vector<std::uint32_t> places = {~std::uint32_t{0}};
  std::size_t count = 1;
  std::size_t at = 0;
#if defined(__SSE2__)
  const __m128i ones = _mm_set1_epi8(one);
  const __m128i lasts = _mm_set1_epi8(last);
  const auto found_in = [&](std::size_t from) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + from));
    const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(part, ones), _mm_cmpeq_epi8(part, lasts));
    return static_cast<std::uint64_t>(_mm_movemask_epi8(found));
  };
  for (; at + 64 <= text.size(); at += 64) {
    if (places.size() < count + 64) places.resize(2 * count + 1024);
    std::uint64_t bits =
        found_in(at) | found_in(at + 16) << 16 | found_in(at + 32) << 32 | found_in(at + 48) << 48;
    for (; bits != 0; bits &= bits - 1) {
      places[count++] = static_cast<std::uint32_t>(at) + std::countr_zero(bits);
    }
  }
#endif
  places.resize(count);
  for (; at < text.size(); ++at) {
    if (text[at] == one || text[at] == last) places.push_back(static_cast<std::uint32_t>(at));
  }
  if (!text.ends_with(last)) places.push_back(static_cast<std::uint32_t>(text.size()));
  return places;
}

}  // namespace

std::string_view without_type(std::string_view name) {
  for (const std::string_view type : {":token", ":float", ":token_seq", ":float_seq"}) {
    if (name.ends_with(type)) return name.substr(0, name.size() - type.size());
  }
  return name;
}

bool is_name_like(std::string_view field) {
  return !field.empty() && std::none_of(field.begin(), field.end(), is_digit);
}

bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void TableCounts::add(const TableCounts& of_later) {
  records += of_later.records;
  for (std::size_t role = 0; role < kRoles; ++role) {
    if (quoted[role] == 0) first_quoted_line[role] = of_later.first_quoted_line[role];
    quoted[role] += of_later.quoted[role];
  }
}

Error TableRecord::error(const std::string& what) const {
  return {Cause::data, path, ":", line, ": ", what};
}

// --- plain lines ---

/// A line by where its fields end.
struct TableRecords::PlainLine {
  std::string_view text;        // the block's
  const std::uint32_t* before;  // the place in it before the line; behind it those before the next
  const char* end;  // of the line, where the last field may end earlier than at its place

  std::string_view field(std::size_t f) const {
    const char* const begin = text.data() + (before[f] + 1);
    return {begin, std::min(text.data() + before[f + 1], end)};
  }
};

bool TableRecords::may_take_lines(std::string_view text) const {
  return !table_.format.quotes || text.find('"') == std::string_view::npos;
}

/// Fills an interaction from fields in which nothing is unusual; `closely`: take() is to look.
TableRecords::Looked TableRecords::look(const PlainLine& line, std::optional<double> min_rating,
                                        Interaction& out) const {
  const std::size_t user = *place(Role::user);
  const std::size_t item = *place(Role::item);
  out.user = line.field(user);
  out.item = line.field(item);
  if (!is_plain_key(out.user) || !is_plain_key(out.item)) return Looked::closely;
  if (!has_digit(out.item) && !has_digit(out.user)) return Looked::closely;
  if (table_.has_header &&
      (is_same(out.user, table_.raw[user]) || is_same(out.item, table_.raw[item]))) {
    return Looked::closely;
  }
  if (const auto& time = place(Role::timestamp)) {
    std::int64_t number = 0;
    if (!parse_plain(line.field(*time), &number)) return Looked::closely;
    out.timestamp = number;
  }
  if (const auto& rating = place(Role::rating)) {
    double number = 0;
    if (!parse_plain_rating(line.field(*rating), &number)) return Looked::closely;
    out.rating = number;
  }
  if (const auto& label = place(Role::label)) {
    const std::string_view value = line.field(*label);
    if (value.size() != 1 || value[0] < '0' || value[0] > '2') return Looked::closely;
    out.label = static_cast<SplitLabel>(value[0] - '0');
  }
  if (min_rating && !out.rating) return Looked::closely;
  return min_rating && *out.rating < *min_rating ? Looked::below_min_rating : Looked::plain;
}

void TableRecords::take_line(std::string_view line, std::int64_t number, Delivery& delivery,
                             TableCounts& counts, std::vector<std::string_view>& fields) const {
  const bool fits = split_plain(line, table_.format.separator, &fields);
  const TableRecord record{path_, fields, nullptr, number, 1};
  if (!fits) throw record.error(too_many_fields());
  take(record, delivery, counts);
}

void TableRecords::take_lines(const LineBlock& lines, char line_feed, Delivery& delivery,
                              TableCounts& counts, std::vector<Interaction>& out) const {
  const std::string_view text = lines.text();
  const bool is_plain = line_feed == '\n' && table_.format.separator.size() == 1 &&
                        text.find('\0') == std::string_view::npos &&
                        static_cast<signed char>(table_.format.separator.front()) >= 0 &&
                        simdjson::validate_utf8(text.data(), text.size());
  const bool has_returns = text.find('\r') != std::string_view::npos;
  const std::optional<double> min_rating = delivery.min_rating();
  InteractionsSummary& summary = delivery.summary();
  // Where a line has other fields than its table, or may have: its end alone.
  const char separator = is_plain ? table_.format.separator.front() : line_feed;
  const std::vector<std::uint32_t> ends = places_of(text, separator, line_feed);
  std::vector<std::string_view> fields;
  std::int64_t number = lines.first_line;
  for (std::size_t next = 1; next < ends.size(); ++number) {
    const std::uint32_t* const before = &ends[next - 1];
    const char* const begin = text.data() + (*before + 1);
    const char* stop = nullptr;
    std::size_t width = 0;
    do {
      stop = text.data() + ends[next++];
      ++width;
    } while (next < ends.size() && *stop != line_feed);
    std::string_view line(begin, stop - begin);
    if (has_returns && line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const bool may_look = is_plain && width == table_.raw.size() &&
                          !(has_returns && line.find('\r') != std::string_view::npos);
    if (may_look) {
      Interaction& taken = out.emplace_back();
      const Looked looked = look({text, before, line.end()}, min_rating, taken);
      taken.line = number;
      if (looked == Looked::plain) {
        ++counts.records;
        ++summary.interactions;
        continue;
      }
      out.pop_back();
      if (looked == Looked::below_min_rating) {
        ++counts.records;
        ++summary.below_min_rating;
        continue;
      }
    }
    take_line(line, number, delivery, counts, fields);
  }
}

// --- any record ---

bool TableRecords::repeats_header(const std::vector<std::string_view>& fields) const {
  const std::size_t user = *place(Role::user);
  const std::size_t item = *place(Role::item);
  // One of the two is enough to tell nearly all records from it, the other may have a mark.
  if (fields[user] != table_.raw[user] && fields[item] != table_.raw[item]) return false;
  if (without_mark(fields[0]) != table_.raw[0]) return false;
  return std::equal(fields.begin() + 1, fields.end(), table_.raw.begin() + 1);
}

/// A header line of another file that was joined to this one.
bool TableRecords::is_other_header(const std::vector<std::string_view>& fields) const {
  constexpr std::size_t kLongestName = 32;
  const std::string_view user = without_mark(trim(fields[*place(Role::user)]));
  const std::string_view item = without_mark(trim(fields[*place(Role::item)]));
  if (user.size() > kLongestName || item.size() > kLongestName) return false;
  if (!is_name_like(user) || !is_name_like(item)) return false;
  const auto is_name = [this](Role role, std::string_view field) {
    const std::string name = small_letters(without_type(field));
    return contains(names_of(role), name) ||
           (table_.has_header && name == table_.small[*place(role)]);
  };
  return (is_name(Role::user, user) && is_name(Role::item, item)) ||
         (is_name(Role::item, user) && is_name(Role::user, item));
}

void TableRecords::take(const TableRecord& record, Delivery& delivery, TableCounts& counts) const {
  ++counts.records;
  const std::vector<std::string_view>& fields = record.fields;
  if (record.lines > 1) check_fields_over_lines(record, delivery);
  if (fields.size() != table_.raw.size()) {
    const bool may_hold = table_.format.quotes && fields.size() > table_.raw.size();
    throw record.error(
        text("expected ", table_.raw.size(), " fields as in the first line, got ", fields.size(),
             may_hold ? text("; a field that holds ", excerpt(table_.format.separator),
                             " is written in double quotes")
                      : ""));
  }
  if (table_.has_header && repeats_header(fields)) {
    ++delivery.summary().repeated_headers;
    return;
  }
  if (is_other_header(fields)) {
    throw record.error(
        text("the line looks like the header of another file that was joined to "
             "this one (",
             listed({fields.begin(), fields.end()}),
             "); give all of them the same header, or take the line out"));
  }
  if (table_.asks_about_quotes) {
    check_quotes_of_key(record, Role::user, counts);
    check_quotes_of_key(record, Role::item, counts);
  }
  const auto field = [&](Role role) -> std::optional<std::string_view> {
    if (!place(role)) return std::nullopt;
    return fields[*place(role)];
  };
  const auto key = [&](Role role) {
    return Delivery::Key{fields[*place(role)], record.is_quoted(*place(role))};
  };
  delivery.deliver(record, {key(Role::user), key(Role::item), field(Role::timestamp),
                            field(Role::rating), field(Role::label), record.line});
}

// --- quotes ---

/// A quote that was never meant to open a field takes the records up to the next one into it.
void TableRecords::check_fields_over_lines(const TableRecord& record, Delivery& delivery) const {
  for (std::size_t f = 0; f < record.fields.size(); ++f) {
    const std::string_view field = record.fields[f];
    if (!record.is_quoted(f) || field.find_first_of("\r\n") == std::string_view::npos) continue;
    ++delivery.summary().fields_over_lines;
    std::size_t begin = field.find_first_of("\r\n") + 1;
    while (begin <= field.size()) {
      const std::size_t end = std::min(field.find_first_of("\r\n", begin), field.size());
      const std::string_view line = field.substr(begin, end - begin);
      if (looks_like_record(line, end == field.size())) {
        throw record.error(text(
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
bool TableRecords::looks_like_record(std::string_view line, bool is_last) const {
  const std::vector<std::string_view> fields = fields_of(line, table_.format.separator);
  const std::size_t whole = is_last ? fields.size() - 1 : fields.size();
  if (is_last ? !fields.back().empty() || fields.size() > table_.raw.size()
              : fields.size() != table_.raw.size()) {
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
void TableRecords::check_quotes_of_key(const TableRecord& record, Role role,
                                       TableCounts& counts) const {
  const std::string_view key = record.fields[*place(role)];
  if (!key.starts_with('"')) return;
  const auto quotes = std::count(key.begin(), key.end(), '"');
  const bool closed = key.size() > 1 && key.ends_with('"');
  if (closed) {
    ++counts.quoted[index(role)];
    if (counts.quoted[index(role)] == 1) counts.first_quoted_line[index(role)] = record.line;
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
  throw record.error(quote_question(role, key));
}

std::string TableRecords::quote_question(Role role, std::string_view key) const {
  return text("the ", word_for(role), " key ", excerpt(key), " ",
              key.size() > 1 && key.ends_with('"') ? "is in quotes" : "opens a quote",
              ", which in a table of tabs is a character; give --quotes=none to keep it, or "
              "--quotes=twice if fields are in quotes here as in CSV");
}

void TableRecords::refuse_quoted_columns(const TableCounts& counts,
                                         std::int64_t repeated_headers) const {
  for (const Role role : {Role::user, Role::item}) {
    const std::int64_t quoted = counts.quoted[index(role)];
    if (counts.records == 0 || quoted < counts.records - repeated_headers) continue;
    throw Error(
        Cause::data, path_, ":", counts.first_quoted_line[index(role)], ": every ", word_for(role),
        " key of the file is in quotes, which in a table of tabs are characters; give "
        "--quotes=none to keep them, or --quotes=twice if fields are in quotes here as in CSV");
  }
}

}  // namespace micrec
