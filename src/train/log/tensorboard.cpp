#include "train/log/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/path_error.h"
#include "base/text.h"
#include "train/log/crc32c.h"

namespace micrec {
namespace {

// Protocol buffers on the wire: a key (field number and wire type), then the value.
enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <typename T>
void put_little_endian(std::string& out, T number) {
  for (std::size_t i = 0; i < sizeof number; ++i) {
    out.push_back(static_cast<char>(number >> (8 * i) & 0xff));
  }
}

void put_varint(std::string& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
}

void put_key(std::string& out, std::uint32_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<std::uint32_t>(wire));
}

void put_integer(std::string& out, std::uint32_t field, std::int64_t number) {
  put_key(out, field, Wire::varint);
  put_varint(out, static_cast<std::uint64_t>(number));
}

void put_double(std::string& out, std::uint32_t field, double number) {
  put_key(out, field, Wire::fixed64);
  put_little_endian(out, std::bit_cast<std::uint64_t>(number));
}

void put_float(std::string& out, std::uint32_t field, float number) {
  put_key(out, field, Wire::fixed32);
  put_little_endian(out, std::bit_cast<std::uint32_t>(number));
}

void put_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// Field numbers of event.proto and summary.proto.
constexpr std::uint32_t kEventWallTime = 1;
constexpr std::uint32_t kEventStep = 2;
constexpr std::uint32_t kEventFileVersion = 3;
constexpr std::uint32_t kEventSummary = 5;
constexpr std::uint32_t kEventSessionLog = 7;
constexpr std::uint32_t kSummaryValue = 1;
constexpr std::uint32_t kValueTag = 1;
constexpr std::uint32_t kValueSimple = 2;
constexpr std::uint32_t kSessionStatus = 1;
constexpr std::int64_t kSessionStart = 1;

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event_at(std::int64_t step) {
  std::string event;
  put_double(event, kEventWallTime, unix_seconds());
  put_integer(event, kEventStep, step);
  return event;
}

std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8U; }

}  // namespace

TensorBoardLog::TensorBoardLog(const std::string& run_dir, std::int64_t step) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const auto seconds = static_cast<std::int64_t>(unix_seconds());
  path_ = (std::filesystem::path(run_dir) /
           text("events.out.tfevents.", seconds, ".", host, ".", getpid()))
              .string();
  file_.open(path_, std::ios::binary | std::ios::app);
  std::string version = event_at(0);
  put_bytes(version, kEventFileVersion, "brain.Event:2");
  write_event(version);

  // The start of a session makes TensorBoard forget what it has read of this step and later.
  std::string session = event_at(step + 1);
  std::string start;
  put_integer(start, kSessionStatus, kSessionStart);
  put_bytes(session, kEventSessionLog, start);
  write_event(session);
}

void TensorBoardLog::scalars(std::int64_t step,
                             const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [tag, number] : values) {
    std::string value;
    put_bytes(value, kValueTag, tag);
    put_float(value, kValueSimple, static_cast<float>(number));
    put_bytes(summary, kSummaryValue, value);
  }
  std::string event = event_at(step);
  put_bytes(event, kEventSummary, summary);
  write_event(event);
}

void TensorBoardLog::write_event(std::string_view event) {
  std::string record;
  put_little_endian(record, std::uint64_t{event.size()});
  put_little_endian(record, masked(crc32c(record)));
  record += event;
  put_little_endian(record, masked(crc32c(event)));
  errno = 0;
  file_ << record << std::flush;
  if (!file_) throw Error(Cause::io, path_error("write", path_, errno));
}

}  // namespace micrec
