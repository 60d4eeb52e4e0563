#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/tables/csv.h"
#include "io/tables/interaction_delivery.h"

namespace micrec {

/// What the records of a table have in common, once its first record has been looked at.
struct TableDescription {
  // The first record, which may be a header: as it stands there; without spaces and RecBole's
  // types; those in small letters.
  Names raw;
  Names names;
  Names small;
  bool has_header = false;
  std::array<std::optional<std::size_t>, kRoles> places;  // the column of every role
  CsvFormat format;
  bool asks_about_quotes = false;  // which are characters, as nobody said otherwise

  const std::optional<std::size_t>& place(Role role) const { return places[index(role)]; }
};

/// RecBole writes `user_id:token`.
std::string_view without_type(std::string_view name);
/// Whether a field has letters and no digit.
bool is_name_like(std::string_view field);
bool contains(const Names& names, std::string_view name);

/// What is counted over the records of a table, or of a part of it.
struct TableCounts {
  std::int64_t records = 0;
  std::array<std::int64_t, kRoles> quoted = {};  // keys in quotes
  std::array<std::int64_t, kRoles> first_quoted_line = {};

  void add(const TableCounts& of_later);
};

/// A record of a table, taken apart.
struct TableRecord {
  const std::string& path;
  const std::vector<std::string_view>& fields;
  const CsvReader* quotes;  // who knows which fields stood in them; nullptr: none did
  std::int64_t line;        // its first one
  std::int64_t lines;

  bool is_quoted(std::size_t field) const { return quotes != nullptr && quotes->is_quoted(field); }
  Error error(const std::string& what) const;
};

/// Checks records of a table and delivers them.
class TableRecords {
 public:
  TableRecords(const TableDescription& table, std::string path)
      : table_(table), path_(std::move(path)) {}

  /// Errors   Error(Cause::data) with file and line.
  void take(const TableRecord& record, Delivery& delivery, TableCounts& counts) const;

  /// Whether take_lines() may take this text.
  bool may_take_lines(std::string_view text) const;
  /// All lines of a text without quotes, as take() would deliver them one by one; those in which
  /// there is nothing to look at twice several times as fast. They go to `out`, behind what is
  /// there, where also `delivery` must put them; they are views of the text.
  void take_lines(const LineBlock& lines, char line_feed, Delivery& delivery, TableCounts& counts,
                  std::vector<Interaction>& out) const;

  /// Refuses a table of tabs in which all keys of a column stand in quotes.
  void refuse_quoted_columns(const TableCounts& counts, std::int64_t repeated_headers) const;

 private:
  enum class Looked : std::uint8_t { plain, below_min_rating, closely };

  void take_line(std::string_view line, std::int64_t number, Delivery& delivery,
                 TableCounts& counts, std::vector<std::string_view>& fields) const;
  struct PlainLine;
  Looked look(const PlainLine& line, std::optional<double> min_rating, Interaction& out) const;

  bool repeats_header(const std::vector<std::string_view>& fields) const;
  bool is_other_header(const std::vector<std::string_view>& fields) const;
  void check_fields_over_lines(const TableRecord& record, Delivery& delivery) const;
  bool looks_like_record(std::string_view line, bool is_last) const;
  void check_quotes_of_key(const TableRecord& record, Role role, TableCounts& counts) const;
  std::string quote_question(Role role, std::string_view key) const;

  const std::optional<std::size_t>& place(Role role) const { return table_.place(role); }

  const TableDescription& table_;
  std::string path_;
};

}  // namespace micrec
