#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"

struct libdeflate_compressor;

namespace micrec::hdf5 {

/// Packs chunks as the library's filters shuffle (2) and deflate (1) read them, by libdeflate, in a
/// third of their time. The first planes of a shuffled chunk, the low bytes of all elements, often
/// are noise (seconds of a day, mantissas), which libdeflate takes longest for: these are stored as
/// they are. It does not call the library; one serves one thread.
class ChunkPacker {
 public:
  static constexpr int kLevel = 1;

  ChunkPacker();
  ~ChunkPacker();
  ChunkPacker(const ChunkPacker&) = delete;
  ChunkPacker& operator=(const ChunkPacker&) = delete;

  /// The packed bytes, valid until the next call.
  std::string_view pack(std::span<const char> chunk, std::size_t element_bytes);

 private:
  /// Whether a plane hardly becomes smaller, as a sample of it says.
  bool is_noise(std::span<const char> plane);

  libdeflate_compressor* compressor_;
  std::vector<char> shuffled_;
  std::vector<char> packed_;
};

/// The rows of a compressed dataset of a new file, which come front to back: what fills a chunk is
/// packed by several threads and written past the library's own filters.
///
/// Cost     two chunks a thread, and one whose rows have not all come.
class PackedRows {
 public:
  /// Writes the chunk that begins with this row.
  using Write = std::function<void(std::int64_t first_row, std::string_view packed)>;

  struct Shape {
    std::int64_t rows;
    std::int64_t chunk_rows;
    std::size_t row_bytes;
    std::size_t element_bytes;
  };

  explicit PackedRows(const Shape& shape);

  /// The next rows. values: (rows.size() * row_bytes) bytes.
  void write(Range rows, const char* values, const Write& write);
  /// Whether all rows have come.
  bool are_whole() const { return next_ == shape_.rows; }

 private:
  void write_chunks(std::span<const char> chunks, const Write& write);

  Shape shape_;
  std::size_t chunk_bytes_;
  std::int64_t next_ = 0;                              // row that is to come
  std::int64_t written_ = 0;                           // rows of the chunks that are written
  std::vector<char> pending_;                          // rows whose chunk is not full
  std::vector<std::unique_ptr<ChunkPacker>> packers_;  // [chunk of those packed together]
};

}  // namespace micrec::hdf5
