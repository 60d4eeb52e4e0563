#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace micrec {

/// How a file's bytes were made smaller; told by their beginning, whatever the file's name.
enum class Compression { none, gzip, bzip2, xz, zstd };

/// "gzip", "bzip2", "xz" or "zstd".
const char* name_of(Compression compression);

/// What the beginning of some bytes says.
Compression compression_of(std::string_view start);

/// Names what a file is by its first bytes, where that is certainly not a text of records, and says
/// what to do: "a zip archive; take the file out of it: unzip". Nothing for all else.
std::optional<std::string> foreign_content(std::string_view start);

/// The bytes of a file, front to back, decompressed. Files of one compression may follow each other
/// in one, as `cat` joins them; zero bytes may follow the last.
///
/// Errors   Error(Cause::io) where the file is missing, a folder or cannot be opened; what goes
///          wrong later is failure().
/// Cost     128 KiB and what the decompressor needs: 128 MiB (zstd) or 256 MiB (xz) at most.
class ByteSource {
 public:
  explicit ByteSource(const std::string& path);
  ~ByteSource();
  ByteSource(ByteSource&&) noexcept;
  ByteSource& operator=(ByteSource&&) noexcept;

  /// Writes up to `size` bytes to `out`; 0 at the end or where reading failed.
  std::size_t read(char* out, std::size_t size);

  /// Why read() ended before the end: "the gzip data are cut off".
  struct Failure {
    Cause cause;
    std::string what;
    std::string advice;  // may be empty
  };
  const std::optional<Failure>& failure() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace micrec
