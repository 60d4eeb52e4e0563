#include "io/tables/byte_source.h"

#include <bzlib.h>
#include <fcntl.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "io/descriptor.h"
#include "io/paths.h"

namespace micrec {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kInputBytes = 128 * 1024;
constexpr std::uint64_t kMostXzBytes = std::uint64_t{256} << 20;
constexpr std::size_t kLongestMagic = 10;

/// Bytes that go into a decoder and come out of it; it moves both.
struct Buffers {
  const char* in = nullptr;
  std::size_t in_bytes = 0;
  char* out = nullptr;
  std::size_t out_bytes = 0;
};

enum class Progress { more, end_of_stream, damaged, too_large };

class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;

  virtual void begin_stream() = 0;
  /// Decodes until the input is used up, the output is full or the stream ends.
  virtual Progress decode(Buffers& buffers) = 0;
  /// Why the last answer was `damaged`.
  virtual std::string reason() const = 0;
};

/// Calls decode() with the buffers in the fields that zlib, bzip2 and lzma name alike, and moves
/// them as far as it has come.
template <typename Stream, typename Decode>
auto decode_with(Stream& stream, Buffers& b, const Decode& decode) {
  stream.next_in = reinterpret_cast<decltype(stream.next_in)>(const_cast<char*>(b.in));
  stream.avail_in = static_cast<decltype(stream.avail_in)>(b.in_bytes);
  stream.next_out = reinterpret_cast<decltype(stream.next_out)>(b.out);
  stream.avail_out = static_cast<decltype(stream.avail_out)>(b.out_bytes);
  const auto status = decode();
  b = {reinterpret_cast<const char*>(stream.next_in), stream.avail_in,
       reinterpret_cast<char*>(stream.next_out), stream.avail_out};
  return status;
}

[[noreturn]] void out_of_memory() { throw std::bad_alloc(); }

class GzipDecoder : public Decoder {
 public:
  GzipDecoder() {
    constexpr int kGzipHeader = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipHeader) != Z_OK) out_of_memory();
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  void begin_stream() override { inflateReset(&stream_); }

  Progress decode(Buffers& b) override {
    const int status = decode_with(stream_, b, [&] { return inflate(&stream_, Z_NO_FLUSH); });
    if (status == Z_STREAM_END) return Progress::end_of_stream;
    if (status == Z_OK || status == Z_BUF_ERROR) return Progress::more;
    if (status == Z_MEM_ERROR) out_of_memory();
    return Progress::damaged;
  }

  std::string reason() const override { return stream_.msg != nullptr ? stream_.msg : "zlib"; }

 private:
  z_stream stream_ = {};
};

class Bzip2Decoder : public Decoder {
 public:
  ~Bzip2Decoder() override { end(); }

  void begin_stream() override {
    end();
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) out_of_memory();
    open_ = true;
  }

  Progress decode(Buffers& b) override {
    status_ = decode_with(stream_, b, [&] { return BZ2_bzDecompress(&stream_); });
    if (status_ == BZ_STREAM_END) return Progress::end_of_stream;
    if (status_ == BZ_OK) return Progress::more;
    if (status_ == BZ_MEM_ERROR) out_of_memory();
    return Progress::damaged;
  }

  std::string reason() const override { return text("bzip2 error ", status_); }

 private:
  void end() {
    if (open_) BZ2_bzDecompressEnd(&stream_);
    open_ = false;
  }

  bz_stream stream_ = {};
  bool open_ = false;
  int status_ = BZ_OK;
};

class XzDecoder : public Decoder {
 public:
  ~XzDecoder() override { lzma_end(&stream_); }

  void begin_stream() override {
    if (lzma_stream_decoder(&stream_, kMostXzBytes, 0) != LZMA_OK) out_of_memory();
  }

  Progress decode(Buffers& b) override {
    status_ = decode_with(stream_, b, [&] { return lzma_code(&stream_, LZMA_RUN); });
    switch (status_) {
      case LZMA_STREAM_END:
        return Progress::end_of_stream;
      case LZMA_OK:
      case LZMA_BUF_ERROR:
        return Progress::more;
      case LZMA_MEM_ERROR:
        out_of_memory();
      case LZMA_MEMLIMIT_ERROR:
        return Progress::too_large;
      default:
        return Progress::damaged;
    }
  }

  std::string reason() const override { return text("lzma error ", static_cast<int>(status_)); }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  lzma_ret status_ = LZMA_OK;
};

class ZstdDecoder : public Decoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr) out_of_memory();
  }
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }

  void begin_stream() override { ZSTD_initDStream(stream_); }

  Progress decode(Buffers& b) override {
    ZSTD_inBuffer in = {b.in, b.in_bytes, 0};
    ZSTD_outBuffer out = {b.out, b.out_bytes, 0};
    status_ = ZSTD_decompressStream(stream_, &out, &in);
    b = {b.in + in.pos, b.in_bytes - in.pos, b.out + out.pos, b.out_bytes - out.pos};
    if (status_ == 0) return Progress::end_of_stream;
    if (ZSTD_isError(status_) == 0) return Progress::more;
    switch (ZSTD_getErrorCode(status_)) {
      case ZSTD_error_memory_allocation:
        out_of_memory();
      case ZSTD_error_frameParameter_windowTooLarge:
        return Progress::too_large;
      default:
        return Progress::damaged;
    }
  }

  std::string reason() const override { return ZSTD_getErrorName(status_); }

 private:
  ZSTD_DStream* stream_;
  std::size_t status_ = 0;
};

std::unique_ptr<Decoder> make_decoder(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return std::make_unique<GzipDecoder>();
    case Compression::bzip2:
      return std::make_unique<Bzip2Decoder>();
    case Compression::xz:
      return std::make_unique<XzDecoder>();
    case Compression::zstd:
      return std::make_unique<ZstdDecoder>();
    case Compression::none:
      break;
  }
  return nullptr;
}

}  // namespace

const char* name_of(Compression compression) {
  constexpr std::array<const char*, 5> kNames = {"no compression", "gzip", "bzip2", "xz", "zstd"};
  return kNames[static_cast<std::size_t>(compression)];
}

Compression compression_of(std::string_view start) {
  if (start.starts_with("\x1F\x8B\x08"sv)) return Compression::gzip;
  // A text may begin with BZh as well; what follows may not.
  if (start.size() >= 10 && start.starts_with("BZh"sv) &&
      (start.substr(4, 6) == "\x31\x41\x59\x26\x53\x59"sv ||
       start.substr(4, 6) == "\x17\x72\x45\x38\x50\x90"sv)) {
    return Compression::bzip2;
  }
  if (start.starts_with("\xFD\x37\x7A\x58\x5A\0"sv)) return Compression::xz;
  // A frame that decoders skip (its first half byte is free) may come before the data.
  if (start.starts_with("\x28\xB5\x2F\xFD"sv) ||
      (start.size() >= 4 && (start[0] & '\xF0') == '\x50' &&
       start.substr(1, 3) == "\x2A\x4D\x18"sv)) {
    return Compression::zstd;
  }
  return Compression::none;
}

struct ByteSource::State {
  Descriptor file;
  Compression compression = Compression::none;
  std::unique_ptr<Decoder> decoder;
  bool in_stream = true;
  std::vector<char> input;
  std::size_t begin = 0;  // what is not used of the input
  std::size_t end = 0;
  bool at_end = false;  // of the file
  std::optional<Failure> failure;

  std::string_view unused() const { return {input.data() + begin, end - begin}; }

  /// 0 at the end of the file and where it cannot be read.
  std::size_t read_file(char* out, std::size_t size) {
    const std::int64_t got = file.read(out, size);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0) failure = {Cause::io, "cannot be read", std::strerror(errno)};
    at_end = true;
    return 0;
  }

  /// Reads until there are `bytes` of input, or the file's last.
  void want(std::size_t bytes) {
    if (unused().size() >= bytes) return;
    std::copy(input.begin() + static_cast<std::ptrdiff_t>(begin),
              input.begin() + static_cast<std::ptrdiff_t>(end), input.begin());
    end -= begin;
    begin = 0;
    while (end < bytes && !at_end) end += read_file(input.data() + end, input.size() - end);
  }

  std::size_t fail(std::string what, std::string advice) {
    failure = {Cause::data, text("the ", name_of(compression), " data ", what), std::move(advice)};
    return 0;
  }

  std::size_t copy(char* out, std::size_t size) {
    if (begin == end) return at_end ? 0 : read_file(out, size);
    const std::size_t taken = std::min(size, end - begin);
    std::memcpy(out, input.data() + begin, taken);
    begin += taken;
    return taken;
  }

  /// Between two streams; false at the end, or where something else follows.
  bool next_stream() {
    while (true) {
      want(kLongestMagic);
      if (begin == end) return false;
      if (input[begin] != '\0') break;
      ++begin;  // padding
    }
    if (compression_of(unused()) != compression) {
      fail("are followed by other bytes", "take those off, or compress the whole file again");
      return false;
    }
    decoder->begin_stream();
    in_stream = true;
    return true;
  }

  std::size_t decode(char* out, std::size_t size) {
    Buffers buffers{nullptr, 0, out, size};
    while (buffers.out_bytes == size) {
      if (!in_stream && !next_stream()) return 0;
      want(1);
      if (failure) return 0;
      const bool no_more = begin == end;
      buffers.in = input.data() + begin;
      buffers.in_bytes = end - begin;
      const Progress progress = decoder->decode(buffers);
      begin = end - buffers.in_bytes;
      switch (progress) {
        case Progress::more:
          if (no_more && buffers.out_bytes == size)
            return fail("are cut off", "fetch the file again");
          break;
        case Progress::end_of_stream:
          in_stream = false;
          break;
        case Progress::damaged:
          return fail(text("are damaged (", decoder->reason(), ")"), "fetch the file again");
        case Progress::too_large:
          return fail("need more memory to be read than most programs give them",
                      "compress the file again without --long or --ultra");
      }
    }
    return size - buffers.out_bytes;
  }
};

ByteSource::ByteSource(const std::string& path) : state_(std::make_unique<State>()) {
  refuse_unreadable(path);
  State& s = *state_;
  s.file = Descriptor(path, O_RDONLY);
  if (!s.file.ok()) refuse_path("open", path, errno);
  s.input.resize(kInputBytes);
  s.want(kLongestMagic);
  s.compression = compression_of(s.unused());
  s.decoder = make_decoder(s.compression);
  if (s.decoder) s.decoder->begin_stream();
}

ByteSource::~ByteSource() = default;
ByteSource::ByteSource(ByteSource&&) noexcept = default;
ByteSource& ByteSource::operator=(ByteSource&&) noexcept = default;

std::size_t ByteSource::read(char* out, std::size_t size) {
  if (state_->failure) return 0;
  return state_->decoder ? state_->decode(out, size) : state_->copy(out, size);
}

const std::optional<ByteSource::Failure>& ByteSource::failure() const { return state_->failure; }

}  // namespace micrec
