#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/line_reader.h"

namespace micrec {

/// Records of a CSV or TSV file (RFC 4180), one at a time: fields may be in double quotes and then
/// hold separators, line ends and doubled quotes. Empty lines are skipped. Spaces are kept.
///
/// Errors   those of LineReader; Error(Cause::data) with file and line where a quote is never
///          closed, text follows a closing quote, or a record has more than kMostFields fields.
/// Cost     memory for the longest record, which may have 64 MiB.
class CsvReader {
 public:
  static constexpr std::size_t kMostFields = 65'536;

  CsvReader(const std::string& path, char separator);

  /// Moves to the next record; false after the last.
  bool next();

  /// Fields of the record, valid until the next call of next().
  const std::vector<std::string_view>& fields() const { return fields_; }
  /// Number of the line on which the record begins, from 1.
  std::int64_t line_number() const { return line_number_; }
  const std::string& path() const { return lines_.path(); }

  /// Error(Cause::data) "path:line: what", of the record.
  Error error(const std::string& what) const;

 private:
  struct Span {
    std::size_t begin;
    std::size_t size;
  };
  void split_quoted(std::string_view line);
  void check_fields(std::size_t count) const;

  LineReader lines_;
  char separator_;
  std::int64_t line_number_ = 0;
  std::vector<std::string_view> fields_;
  std::vector<Span> spans_;  // fields of a record with quotes, in text_
  std::string text_;
};

}  // namespace micrec
