#include "io/hdf5/packed_rows.h"

#include <glog/logging.h>
#include <libdeflate.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>

#include "base/parallel.h"

namespace micrec::hdf5 {
namespace {

constexpr std::size_t kMostStored = 0xFFFF;  // bytes of a stored block of deflate
constexpr std::size_t kMostSample = 8192;    // bytes that tell whether a plane can be compressed

/// The first bytes of all elements, then the second ones, and so on.
template <typename Word>
void shuffle_words(std::span<const char> chunk, char* out) {
  const std::size_t count = chunk.size() / sizeof(Word);
  for (std::size_t b = 0; b < sizeof(Word); ++b) {
    for (std::size_t i = 0; i < count; ++i) {
      Word word;
      std::memcpy(&word, chunk.data() + i * sizeof(Word), sizeof(Word));
      out[b * count + i] = static_cast<char>(word >> (8 * b));
    }
  }
}

void shuffle(std::span<const char> chunk, std::size_t element_bytes, char* out) {
  if (element_bytes == 8) return shuffle_words<std::uint64_t>(chunk, out);
  if (element_bytes == 4) return shuffle_words<std::uint32_t>(chunk, out);
  const std::size_t count = chunk.size() / element_bytes;
  for (std::size_t b = 0; b < element_bytes; ++b) {
    for (std::size_t i = 0; i < count; ++i) out[b * count + i] = chunk[i * element_bytes + b];
  }
}

}  // namespace

ChunkPacker::ChunkPacker() : compressor_(libdeflate_alloc_compressor(kLevel)) {
  if (compressor_ == nullptr) throw std::bad_alloc();
}

ChunkPacker::~ChunkPacker() { libdeflate_free_compressor(compressor_); }

bool ChunkPacker::is_noise(std::span<const char> plane) {
  const auto sample = plane.subspan(plane.size() / 2, std::min(plane.size() / 8, kMostSample));
  packed_.resize(sample.size());
  return !sample.empty() &&
         libdeflate_deflate_compress(compressor_, sample.data(), sample.size(), packed_.data(),
                                     sample.size() / 64 * 63) == 0;
}

std::string_view ChunkPacker::pack(std::span<const char> chunk, std::size_t element_bytes) {
  shuffled_.resize(chunk.size());
  shuffle(chunk, element_bytes, shuffled_.data());
  const std::span<const char> all(shuffled_);
  const std::size_t plane = all.size() / element_bytes;
  std::size_t noise = 0;
  while (noise + plane < all.size() && is_noise(all.subspan(noise, plane))) noise += plane;
  const auto rest = all.subspan(noise);
  const std::size_t most = libdeflate_deflate_compress_bound(compressor_, rest.size());
  packed_.resize(2 + noise + (noise / kMostStored + 1) * 5 + most + 4);
  char* out = packed_.data();
  const auto put = [&out](std::initializer_list<std::uint32_t> bytes) {
    for (const std::uint32_t byte : bytes) *out++ = static_cast<char>(byte);
  };
  put({0x78, 0x01});  // RFC 1950: deflate, a window of 32 KiB, the fastest level
  for (std::size_t at = 0; at < noise; at += kMostStored) {
    const auto block = all.subspan(at, std::min(kMostStored, noise - at));
    const auto size = static_cast<std::uint32_t>(block.size());
    put({0, size, size >> 8, ~size, ~size >> 8});  // RFC 1951: stored, and not the last block
    out = std::ranges::copy(block, out).out;
  }
  const std::size_t bytes =
      libdeflate_deflate_compress(compressor_, rest.data(), rest.size(), out, most);
  CHECK_GT(bytes, 0U);
  out += bytes;
  const std::uint32_t checksum = libdeflate_adler32(1, all.data(), all.size());
  put({checksum >> 24, checksum >> 16, checksum >> 8, checksum});
  return {packed_.data(), out};
}

PackedRows::PackedRows(const Shape& shape)
    : shape_(shape), chunk_bytes_(static_cast<std::size_t>(shape.chunk_rows) * shape.row_bytes) {}

void PackedRows::write_chunks(std::span<const char> chunks, const Write& write) {
  const std::size_t count = chunks.size() / chunk_bytes_;
  const auto threads = static_cast<std::size_t>(compute_threads());
  if (packers_.size() < threads) packers_.resize(threads);
  std::vector<std::string_view> packed(threads);
  for (std::size_t begin = 0; begin < count; begin += threads) {
    const std::size_t size = std::min(threads, count - begin);
    parallel_for(static_cast<std::int64_t>(size), 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        if (!packers_[i]) packers_[i] = std::make_unique<ChunkPacker>();
        packed[i] = packers_[i]->pack(chunks.subspan((begin + i) * chunk_bytes_, chunk_bytes_),
                                      shape_.element_bytes);
      }
    });
    for (std::size_t i = 0; i < size; ++i) {
      write(written_, packed[i]);
      written_ += shape_.chunk_rows;
    }
  }
}

void PackedRows::write(Range rows, const char* values, const Write& write) {
  CHECK_EQ(rows.begin, next_) << "rows of a compressed dataset come front to back";
  std::span<const char> left(values, static_cast<std::size_t>(rows.size()) * shape_.row_bytes);
  next_ = rows.end;
  const auto keep = [&](std::size_t bytes) {
    pending_.insert(pending_.end(), left.begin(),
                    left.begin() + static_cast<std::ptrdiff_t>(bytes));
    left = left.subspan(bytes);
  };
  if (!pending_.empty()) keep(std::min(left.size(), chunk_bytes_ - pending_.size()));
  if (pending_.size() == chunk_bytes_) {
    write_chunks(pending_, write);
    pending_.clear();
  }
  const std::size_t whole = left.size() / chunk_bytes_ * chunk_bytes_;
  write_chunks(left.first(whole), write);
  left = left.subspan(whole);
  keep(left.size());
  if (!are_whole()) return;
  if (!pending_.empty()) {
    pending_.resize(chunk_bytes_, '\0');  // the last chunk is as large as all
    write_chunks(pending_, write);
  }
  std::vector<char>().swap(pending_);
  packers_.clear();
}

}  // namespace micrec::hdf5
