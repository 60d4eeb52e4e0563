#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"

namespace micrec {

/// Lines of a UTF-8 text file, plain or gzip, one at a time. Lines end with LF or CR LF, which are
/// not part of them; the last may end with the file. A byte order mark is skipped.
///
/// Errors   Error(Cause::io) where the file is missing or cannot be read; Error(Cause::data) where
///          the gzip data are cut off or damaged, a line is too long, or the text is UTF-16.
/// Cost     memory for the longest line and 256 KiB.
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
  /// Number of the line that next() gave last, from 1; 0 before the first.
  std::int64_t line_number() const;

  /// Error(Cause::data) "path:line: what", of the line that next() gave last.
  Error error(const std::string& what) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace micrec
