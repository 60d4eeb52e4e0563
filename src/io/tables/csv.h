#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/tables/line_reader.h"

namespace micrec {

/// What stands between the fields of a table, and whether double quotes may stand around them.
struct CsvFormat {
  std::string separator = ",";  // one character or more
  bool quotes = true;
};

/// Commas with quotes (RFC 4180); tabs without, as a quote in a file of tabs is a character.
CsvFormat csv_format(char separator);

/// A field as a table with commas and quotes has it: in quotes where it needs them.
std::string csv_field(std::string_view value);

/// The fields of a line without regard to quotes; false where they are more than
/// CsvReader::kMostFields.
bool split_plain(std::string_view line, std::string_view separator,
                 std::vector<std::string_view>* fields);
/// What is wrong then.
std::string too_many_fields();

/// Records of a table in a text file, one at a time. Where there are quotes, a field in them may
/// hold separators, line ends (which are kept as they are) and doubled quotes. Empty lines are
/// skipped. Spaces are kept.
///
/// Errors   those of LineReader; Error(Cause::data) with file and line where a quote is not closed
///          within kMostLinesOfField lines, text follows a closing quote, or a record has more than
///          kMostFields fields.
/// Cost     memory for the longest record, which may have 64 MiB.
class CsvReader {
 public:
  static constexpr std::size_t kMostFields = 65'536;
  static constexpr std::int64_t kMostLinesOfField = 32;

  CsvReader(const std::string& path, char separator);
  CsvReader(LineReader lines, CsvFormat format);

  /// Moves to the next record; false after the last.
  bool next();

  /// Fields of the record, valid until the next call of next().
  const std::vector<std::string_view>& fields() const { return fields_; }
  /// Whether a field stood in quotes.
  bool is_quoted(std::size_t field) const { return !spans_.empty() && spans_[field].quoted; }
  /// Number of the line on which the record begins, from 1.
  std::int64_t line_number() const { return line_number_; }
  /// Lines of the record.
  std::int64_t lines() const { return lines_.line_number() - line_number_ + 1; }
  const std::string& path() const { return lines_.path(); }
  /// What comes after the record.
  LineReader& lines_to_come() { return lines_; }
  const CsvFormat& format() const { return format_; }

  /// Said where quotes are wrong, after what is wrong.
  void set_quote_hint(std::string hint) { quote_hint_ = std::move(hint); }

  /// Error(Cause::data) "path:line: what", of the record.
  template <typename... Parts>
  Error error(const Parts&... what) const {
    return {Cause::data, path(), ":", line_number_, ": ", what...};
  }

 private:
  struct Span {
    std::size_t begin;
    std::size_t size;
    bool quoted;
  };
  void split_quoted(std::string_view line);
  void take_quoted_field(std::string_view& line, std::size_t& at);
  void check_fields(std::size_t count) const;
  Error quote_error(std::int64_t line, const std::string& what) const;

  LineReader lines_;
  CsvFormat format_;
  std::string quote_hint_;
  std::int64_t line_number_ = 0;
  std::vector<std::string_view> fields_;
  std::vector<Span> spans_;  // fields of a record with quotes, in text_; empty: a record without
  std::string text_;
};

}  // namespace micrec
