#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace micrec {

/// Whole lines of a file, one after the other with what ends them.
struct LineBlock {
  std::vector<char> bytes;  // kept from one block to the next; the first `size` are the lines
  std::size_t size = 0;
  std::int64_t first_line = 1;  // the number of the first of them

  std::string_view text() const { return {bytes.data(), size}; }
};

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

  /// Moves to the lines that follow, about 64 KiB of them, in one piece; false after the last.
  bool take_lines(LineBlock* block);
  /// Makes next() give these lines, which take_lines() gave last, one by one.
  void give_back(const LineBlock& block);
  /// Whether some of them are still to come.
  bool is_given_back() const;

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
  template <typename... Parts>
  Error error(const Parts&... what) const {
    return {Cause::data, path(), ":", line_number(), ": ", what...};
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace micrec
