#include "io/line_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "io/paths.h"

namespace micrec {
namespace {

constexpr unsigned kBufferBytes = 256 * 1024;

}  // namespace

struct LineReader::State {
  std::string path;
  std::size_t most_line_bytes = 0;
  gzFile file = nullptr;
  std::vector<char> buffer;
  std::size_t begin = 0;  // unread part of the buffer
  std::size_t end = 0;
  bool at_end = false;
  std::string line;  // a line that crosses the end of the buffer
  std::int64_t line_number = 0;

  ~State() {
    if (file != nullptr) gzclose_r(file);
  }

  Error error(Cause cause, std::int64_t number, const std::string& what) const {
    return {cause, text(path, ":", number, ": ", what)};
  }

  /// Fills the buffer again; false at the end of the file.
  bool fill() {
    if (at_end) return false;
    errno = 0;
    const int got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()));
    const int errno_of_read = errno;
    int status = Z_OK;
    const char* message = gzerror(file, &status);
    // A file that ends in the middle of its gzip data gives what it has, and says so only at the
    // end.
    if (got < 0 || status == Z_BUF_ERROR) {
      const std::string after = text("after line ", with_commas(line_number));
      if (status == Z_ERRNO) {
        throw Error(Cause::io,
                    text(path, ": cannot be read ", after, ": ", std::strerror(errno_of_read)));
      }
      if (status == Z_BUF_ERROR) {
        throw Error(Cause::data,
                    text(path, ": the gzip data are cut off ", after, "; fetch the file again"));
      }
      throw Error(Cause::data, text(path, ": the gzip data are damaged ", after, " (", message,
                                    "); fetch the file again"));
    }
    begin = 0;
    end = static_cast<std::size_t>(got);
    at_end = got == 0;
    return got > 0;
  }

  void check_length(std::size_t bytes) const {
    if (bytes <= most_line_bytes) return;
    throw error(Cause::data, line_number + 1,
                text("the line is longer than ", in_bytes(static_cast<double>(most_line_bytes)),
                     "; expected a text file with a record a line"));
  }
};

LineReader::LineReader(const std::string& path, std::int64_t most_line_bytes)
    : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->most_line_bytes = static_cast<std::size_t>(most_line_bytes);
  refuse_unreadable(path);
  errno = 0;
  state_->file = gzopen(path.c_str(), "rb");
  if (state_->file == nullptr) refuse_path("open", path, errno == 0 ? ENOMEM : errno);
  gzbuffer(state_->file, kBufferBytes);
  state_->buffer.resize(kBufferBytes);
  if (!state_->fill()) return;
  const std::string_view start(state_->buffer.data(), state_->end);
  if (start.starts_with("\xEF\xBB\xBF")) state_->begin = 3;
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) {
    throw state_->error(Cause::data, 1, "the file is UTF-16; save it as UTF-8");
  }
}

LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;

bool LineReader::next(std::string_view* line) {
  State& s = *state_;
  s.line.clear();
  while (true) {
    if (s.begin == s.end && !s.fill()) {
      if (s.line.empty()) return false;
      *line = s.line;  // The last line ends with the file.
      break;
    }
    const char* from = s.buffer.data() + s.begin;
    const std::size_t there = s.end - s.begin;
    const auto* feed = static_cast<const char*>(std::memchr(from, '\n', there));
    const std::size_t taken = feed == nullptr ? there : static_cast<std::size_t>(feed - from);
    s.check_length(s.line.size() + taken);
    s.begin += taken + (feed == nullptr ? 0 : 1);
    if (feed == nullptr) {
      s.line.append(from, taken);
      continue;
    }
    if (s.line.empty()) {
      *line = {from, taken};
    } else {
      s.line.append(from, taken);
      *line = s.line;
    }
    break;
  }
  if (line->ends_with('\r')) line->remove_suffix(1);
  ++s.line_number;
  return true;
}

const std::string& LineReader::path() const { return state_->path; }

std::int64_t LineReader::line_number() const { return state_->line_number; }

Error LineReader::error(const std::string& what) const {
  return state_->error(Cause::data, state_->line_number, what);
}

}  // namespace micrec
