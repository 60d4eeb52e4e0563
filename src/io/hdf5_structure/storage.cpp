#include "io/hdf5_structure/storage.h"

#include <libdeflate.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <new>

#include "base/excerpt.h"
#include "base/text.h"
#include "io/hdf5_structure/hdf5_structure.h"

namespace micrec::hdf5_structure {
namespace {

/// How the chunks of a dataset are found, since version 4 of layouts.
enum class ChunkIndex : std::uint64_t {
  single = 1,
  implicit = 2,
  fixed_array = 3,
  extensible_array = 4,
  tree = 5,
};

constexpr std::uint64_t kVirtual = 3;  // of a version 4 layout

void read_chunk_dimensions(Cursor& c, Layout& layout, std::uint64_t dimensions,
                           std::size_t size_bytes) {
  c.expect(dimensions <= kMostDimensions + 1, "is a layout of too many dimensions");
  layout.dimensions = static_cast<int>(dimensions);
  std::uint64_t all = 1;
  for (std::uint64_t i = 0; i < dimensions; ++i) {
    const std::uint64_t size = c.number(size_bytes);
    const std::optional<std::uint64_t> bytes = product(all, size);
    c.expect(bytes && (layout.place != Place::chunked ||
                       (*bytes > 0 && *bytes <= std::numeric_limits<std::uint32_t>::max())),
             "is a layout of chunks of a wrong size");
    all = *bytes;
  }
  layout.chunk_bytes = all;
}

void read_old_layout(Cursor& c, Layout& layout) {
  const std::uint64_t dimensions = c.number(1);
  const std::uint64_t kind = c.number(1);
  c.skip(5);
  c.expect(dimensions <= kMostDimensions + 1 && kind <= 2, "is a layout of an unknown kind");
  layout.place = static_cast<Place>(kind + 1);
  if (layout.place != Place::compact) layout.address = c.address();
  read_chunk_dimensions(c, layout, dimensions, 4);
  if (layout.place == Place::compact) layout.compact = c.take(c.number(4));
  layout.is_tree = true;
}

void read_indexed_chunks(Cursor& c, Layout& layout) {
  const std::uint64_t flags = c.number(1);
  const std::uint64_t dimensions = c.number(1);
  const std::uint64_t size_bytes = c.number(1);
  c.expect(size_bytes >= 1 && size_bytes <= 8, "is a layout of chunks of an unknown kind");
  read_chunk_dimensions(c, layout, dimensions, size_bytes);
  const std::uint64_t kind = c.number(1);
  if (kind > static_cast<std::uint64_t>(ChunkIndex::tree))
    c.newer(text("an index of chunks of kind ", kind));
  const char* signature = nullptr;  // of an index that the library reads
  switch (const auto index = static_cast<ChunkIndex>(kind)) {
    case ChunkIndex::single:
      layout.is_one = true;
      if ((flags & 2) != 0) {
        layout.one_bytes = c.number(8);
        layout.one_skipped = c.number(4);
      }
      break;
    case ChunkIndex::fixed_array:
    case ChunkIndex::extensible_array:
    case ChunkIndex::tree:
      c.skip(index == ChunkIndex::fixed_array ? 1 : index == ChunkIndex::extensible_array ? 5 : 6);
      signature = index == ChunkIndex::fixed_array        ? "FAHD"
                  : index == ChunkIndex::extensible_array ? "EAHD"
                                                          : "BTHD";
      break;
    default:
      break;
  }
  layout.address = c.address();
  if (signature != nullptr) c.expect_at(layout.address, signature);
  if (kind == static_cast<std::uint64_t>(ChunkIndex::implicit) && layout.address != kUndefined)
    c.expect(c.file().holds(layout.address, layout.chunk_bytes), "leads out of the file");
}

bool is_skipped(std::size_t filter, std::uint64_t skipped) {
  return filter < 32 && ((skipped >> filter) & 1) != 0;
}

std::string unshuffled(const std::string& bytes, std::uint64_t element_bytes) {
  if (element_bytes <= 1) return bytes;
  const std::size_t count = bytes.size() / element_bytes;
  std::string out = bytes;  // What is left over at the end stays where it is.
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t b = 0; b < element_bytes; ++b)
      out[i * element_bytes + b] = bytes[b * count + i];
  }
  return out;
}

/// Nothing where it cannot be uncompressed.
std::optional<std::string> inflated(const File& file, const std::string& bytes,
                                    std::uint64_t most_bytes, std::uint64_t at) {
  const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> decompressor(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (!decompressor) throw std::bad_alloc();
  std::string all(most_bytes, '\0');
  std::size_t size = 0;
  const libdeflate_result result = libdeflate_zlib_decompress(
      decompressor.get(), bytes.data(), bytes.size(), all.data(), all.size(), &size);
  if (result == LIBDEFLATE_BAD_DATA) return std::nullopt;
  if (result != LIBDEFLATE_SUCCESS) file.fail(at, "a chunk of a wrong size");
  all.resize(size);
  return all;
}

}  // namespace

Layout read_layout(Cursor& c, GlobalHeap& heap) {
  Layout layout;
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 1, 4, "a layout");
  if (version < 3) {
    read_old_layout(c, layout);
    return layout;
  }
  const std::uint64_t kind = c.number(1);
  if (kind == kVirtual && version == 4) {
    const std::uint64_t collection = c.address();
    const std::string source = heap.first_virtual_source(collection, c.number(4));
    throw Foreign{text("is a virtual dataset: its elements are in other datasets",
                       source.empty() ? "" : ", the first in " + source,
                       ", which this program does not follow; ", kPutDataThere)};
  }
  c.expect(kind <= 2, "is a layout of an unknown kind");
  layout.place = static_cast<Place>(kind + 1);
  if (layout.place == Place::compact) {
    layout.compact = c.take(c.number(2));
  } else if (layout.place == Place::contiguous) {
    layout.address = c.address();
    layout.bytes = c.number(8);
    layout.has_bytes = true;
  } else if (version == 3) {
    const std::uint64_t dimensions = c.number(1);
    layout.address = c.address();
    layout.is_tree = true;
    read_chunk_dimensions(c, layout, dimensions, 4);
  } else {
    read_indexed_chunks(c, layout);
  }
  return layout;
}

void read_other_files(Cursor& c) {
  c.expect_version(c.number(1), 1, 1, "a list of other files");
  c.skip(3 + 2);
  const std::uint64_t files = c.number(2);
  const std::string names = read_local_heap(c.file(), c.address());
  std::string first;
  if (files > 0) {
    const std::uint64_t offset = c.number(8);
    check_name(c, offset, names);
    first = names.c_str() + offset;
  }
  throw Foreign{text("has its elements in other files",
                     first.empty() ? "" : ", the first of them " + excerpt(first),
                     ", which this program does not follow; ", kPutDataThere)};
}

std::vector<Filter> read_filters(Cursor c) {
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 1, 2, "a list of filters");
  const std::uint64_t count = c.number(1);
  c.expect(count <= 32, "is a list of too many filters");
  if (version == 1) c.skip(6);
  std::vector<Filter> filters(count);
  for (Filter& filter : filters) {
    const std::uint64_t id = c.number(2);
    filter.kind = static_cast<FilterKind>(id);
    const std::uint64_t name_bytes = version == 1 || id >= 256 ? c.number(2) : 0;
    c.skip(2);
    const std::uint64_t values = c.number(2);
    c.skip(version == 1 ? (name_bytes + 7) / 8 * 8 : name_bytes);
    for (std::uint64_t i = 0; i < values; ++i) {
      const std::uint64_t value = c.number(4);
      if (filter.kind == FilterKind::shuffle && i == 0) filter.element_bytes = value;
    }
    if (version == 1 && values % 2 == 1) c.skip(4);
  }
  return filters;
}

std::optional<std::uint64_t> stored_bytes(std::uint64_t chunk_bytes,
                                          const std::vector<Filter>& filters,
                                          std::uint64_t skipped) {
  std::uint64_t bytes = chunk_bytes;
  for (std::size_t f = 0; f < filters.size(); ++f) {
    if (is_skipped(f, skipped) || filters[f].kind == FilterKind::shuffle) continue;
    if (filters[f].kind != FilterKind::fletcher32) return std::nullopt;
    bytes += 4;
  }
  return bytes;
}

bool are_known(const std::vector<Filter>& filters) {
  return std::ranges::all_of(filters, [](const Filter& filter) {
    return filter.kind == FilterKind::deflate || filter.kind == FilterKind::shuffle ||
           filter.kind == FilterKind::fletcher32;
  });
}

std::optional<std::string> unfiltered(const File& file, std::string bytes,
                                      const std::vector<Filter>& filters, std::uint64_t skipped,
                                      const Layout& layout, std::uint64_t at) {
  constexpr std::uint64_t kChecksumBytes = 4;
  for (std::size_t f = filters.size(); f-- > 0;) {
    if (is_skipped(f, skipped)) continue;
    switch (filters[f].kind) {
      case FilterKind::fletcher32:
        if (bytes.size() < kChecksumBytes)
          file.fail(at, "a chunk that is shorter than its checksum");
        bytes.resize(bytes.size() - kChecksumBytes);
        break;
      case FilterKind::deflate: {
        std::optional<std::string> all =
            inflated(file, bytes, layout.chunk_bytes + kChecksumBytes, at);
        if (!all) return std::nullopt;
        bytes = *std::move(all);
        break;
      }
      case FilterKind::shuffle:
        bytes = unshuffled(bytes, filters[f].element_bytes);
        break;
      default:
        throw Foreign{text("has strings of variable length behind the filter ",
                           static_cast<std::uint64_t>(filters[f].kind),
                           ", which this program does not check; write it again with gzip or "
                           "without compression")};
    }
  }
  if (bytes.size() != layout.chunk_bytes) file.fail(at, "a chunk of a wrong size");
  return bytes;
}

}  // namespace micrec::hdf5_structure
