#include "io/tables/line_reader.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "io/tables/byte_source.h"

namespace micrec {
namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;
/// So small that what is taken out of a block stays in a core's cache while it is used.
constexpr std::size_t kLinesBytes = 64 * 1024;

/// CR where it ends more lines than LF does, without those in double quotes.
char most_line_ends(std::string_view start) {
  if (start.find('\r') == std::string_view::npos) return '\n';
  std::size_t feeds = 0;
  std::size_t returns = 0;
  bool in_quotes = false;
  for (std::size_t at = 0; at < start.size(); ++at) {
    if (start[at] == '"') in_quotes = !in_quotes;
    if (in_quotes) continue;
    if (start[at] == '\n') ++feeds;
    if (start[at] == '\r' && (at + 1 == start.size() || start[at + 1] != '\n')) ++returns;
  }
  return returns > feeds ? '\r' : '\n';
}

}  // namespace

struct LineReader::State {
  std::string path;
  std::size_t most_line_bytes = 0;
  ByteSource source;
  std::vector<char> buffer;
  std::size_t begin = 0;  // unread part of the buffer
  std::size_t end = 0;
  std::size_t given_back = 0;  // of the buffer, what take_lines() had given before
  bool at_end = false;
  char feed = '\n';  // what lines end with
  std::string line;  // a line that crosses the end of the buffer
  std::string_view line_end;
  std::int64_t line_number = 0;

  explicit State(const std::string& file) : path(file), source(file), buffer(kBufferBytes) {}

  /// Fills the buffer again; false at the end of the file.
  bool fill() {
    begin = 0;
    given_back = 0;
    end = at_end ? 0 : source.read(buffer.data(), buffer.size());
    at_end = end == 0;
    refuse_failure(line_number);
    return end > 0;
  }

  void refuse_failure(std::int64_t lines) const {
    const auto& failure = source.failure();
    if (!failure) return;
    throw Error(failure->cause, path, ": ", failure->what, " after line ", with_commas(lines),
                failure->cause == Cause::io ? ": " : "; ", failure->advice);
  }

  /// The same until the buffer is full.
  void fill_whole() {
    while (end < buffer.size() && !at_end) {
      const std::size_t got = source.read(buffer.data() + end, buffer.size() - end);
      at_end = got == 0;
      end += got;
    }
    refuse_failure(std::count(buffer.data(), buffer.data() + end, '\n'));
  }

  void check_length(std::size_t bytes) const {
    if (bytes <= most_line_bytes) return;
    throw Error(Cause::data, path, ":", line_number + 1, ": the line is longer than ",
                in_bytes(static_cast<double>(most_line_bytes)),
                "; expected a text file with a record a line");
  }
};

LineReader::LineReader(const std::string& path, std::int64_t most_line_bytes)
    : state_(std::make_unique<State>(path)) {
  State& s = *state_;
  s.most_line_bytes = static_cast<std::size_t>(most_line_bytes);
  s.fill_whole();
  if (const auto foreign = foreign_content(start())) {
    throw Error(Cause::data, path, ":1: the file is ", *foreign);
  }
  if (start().starts_with("\xEF\xBB\xBF")) s.begin = 3;
  s.feed = most_line_ends(start());
}

char LineReader::line_feed() const { return state_->feed; }

std::string_view LineReader::start() const {
  return {state_->buffer.data() + state_->begin, state_->end - state_->begin};
}

bool LineReader::start_is_all() const { return state_->at_end; }

std::string_view LineReader::line_end() const { return state_->line_end; }

LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;

bool LineReader::next(std::string_view* line) {
  State& s = *state_;
  s.line.clear();
  s.line_end = {};
  while (true) {
    if (s.begin == s.end && !s.fill()) {
      if (s.line.empty()) return false;
      *line = s.line;  // The last line ends with the file.
      break;
    }
    const char* from = s.buffer.data() + s.begin;
    const std::size_t there = s.end - s.begin;
    const auto* feed = static_cast<const char*>(std::memchr(from, s.feed, there));
    const std::size_t taken = feed == nullptr ? there : static_cast<std::size_t>(feed - from);
    s.check_length(s.line.size() + taken);
    s.begin += taken + (feed == nullptr ? 0 : 1);
    if (feed == nullptr) {
      s.line.append(from, taken);
      continue;
    }
    s.line_end = s.feed == '\n' ? "\n" : "\r";
    if (s.line.empty()) {
      *line = {from, taken};
    } else {
      s.line.append(from, taken);
      *line = s.line;
    }
    break;
  }
  if (line->ends_with('\r')) {
    line->remove_suffix(1);
    s.line_end = s.line_end.empty() ? "\r" : "\r\n";
  }
  ++s.line_number;
  return true;
}

bool LineReader::take_lines(LineBlock* block) {
  State& s = *state_;
  std::vector<char>& bytes = block->bytes;
  std::size_t have = s.end - s.begin;
  std::size_t room = std::max(kLinesBytes, have + 1);
  bytes.resize(std::max(bytes.size(), room));
  std::memcpy(bytes.data(), s.buffer.data() + s.begin, have);
  s.begin = s.end = s.given_back = 0;
  const void* last = nullptr;
  while (true) {
    while (have < room && !s.at_end) {
      const std::size_t got = s.source.read(bytes.data() + have, room - have);
      s.at_end = got == 0;
      have += got;
    }
    last = memrchr(bytes.data(), s.feed, have);
    if (last != nullptr || s.at_end) break;
    s.check_length(have);
    room = std::min(2 * room, std::max(have, s.most_line_bytes) + 1);
    bytes.resize(std::max(bytes.size(), room));
  }
  // The last line may end with the file, but not with a failure.
  const bool takes_all = s.at_end && !s.source.failure();
  block->size = takes_all         ? have
                : last == nullptr ? 0
                                  : static_cast<const char*>(last) - bytes.data() + 1;
  block->first_line = s.line_number + 1;
  if (block->size == 0) {
    s.refuse_failure(s.line_number);
    return false;
  }
  s.end = have - block->size;
  if (s.buffer.size() < s.end) s.buffer.resize(s.end);
  std::memcpy(s.buffer.data(), bytes.data() + block->size, s.end);
  if (s.source.failure()) s.end = 0;
  s.line_number += std::count(bytes.data(), bytes.data() + block->size, s.feed);
  if (bytes[block->size - 1] != s.feed) ++s.line_number;
  return true;
}

void LineReader::give_back(const LineBlock& block) {
  State& s = *state_;
  const std::string_view lines = block.text();
  const std::string_view rest(s.buffer.data() + s.begin, s.end - s.begin);
  std::vector<char> joined(std::max(kBufferBytes, lines.size() + rest.size()));
  std::copy(rest.begin(), rest.end(), std::copy(lines.begin(), lines.end(), joined.begin()));
  s.buffer = std::move(joined);
  s.begin = 0;
  s.end = lines.size() + rest.size();
  s.given_back = lines.size();
  s.line_number = block.first_line - 1;
}

bool LineReader::is_given_back() const { return state_->begin < state_->given_back; }

const std::string& LineReader::path() const { return state_->path; }

std::int64_t LineReader::line_number() const { return state_->line_number; }

}  // namespace micrec
