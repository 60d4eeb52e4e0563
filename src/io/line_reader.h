#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"

namespace micrec {

/// Lines of a UTF-8 text file, plain or compressed (gzip, bzip2, xz, zstd), one at a time. Lines
/// end with LF or CR LF, which are not part of them; the last may end with the file. Where the
/// beginning of the file has CR and no LF at all, they end with CR. A byte order mark is skipped.
///
/// Errors   Error(Cause::io) where the file is missing or cannot be read; Error(Cause::data) where
///          compressed data are cut off, damaged or followed by something else, a line is too long,
///          or the file is no UTF-8 text but one of the kinds that foreign_content() names.
/// Cost     memory for the longest line, 512 KiB, and what ByteSource needs.
class LineReader {
 public:
  static constexpr std::int64_t kMostLineBytes = std::int64_t{64} << 20;

  explicit LineReader(const std::string& path, std::int64_t most_line_bytes = kMostLineBytes);
  ~LineReader();
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;

  /// Moves to the next line; false after the last. The view holds until the next call.
  bool next(std::string_view* line);

  const std::string& path() const;
  /// The first 256 KiB of the text, or all of it; before the first call of next().
  std::string_view start() const;
  bool start_is_all() const;
  /// What lines end with: LF (also for CR LF) or CR.
  char line_feed() const;

  /// How the line ended that next() gave last: LF, CR LF or CR; empty where the file ended with it.
  std::string_view line_end() const;
  /// Number of the line that next() gave last, from 1; 0 before the first.
  std::int64_t line_number() const;

  /// Error(Cause::data) "path:line: what", of the line that next() gave last.
  Error error(const std::string& what) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace micrec
