#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/heaps.h"

namespace micrec::hdf5_structure {

/// Filters that are undone here; all else is left to the library.
enum class FilterKind : std::uint64_t { none = 0, deflate = 1, shuffle = 2, fletcher32 = 3 };

struct Filter {
  FilterKind kind{};
  std::uint64_t element_bytes = 0;  // of shuffle
};

enum class Place { nowhere, compact, contiguous, chunked };

struct Layout {
  Place place = Place::nowhere;
  std::string compact;  // the elements themselves
  std::uint64_t address = kUndefined;
  std::uint64_t bytes = 0;  // contiguous
  bool has_bytes = false;   // contiguous; version 1 and 2 tell none
  std::uint64_t chunk_bytes = 0;
  int dimensions = 0;             // of chunks, the element's bytes among them
  bool is_tree = false;           // a version 1 B-tree has the chunks
  bool is_one = false;            // the address is that of the only chunk
  std::uint64_t one_bytes = 0;    // stored bytes of it, where filtered
  std::uint64_t one_skipped = 0;  // a bit for each filter that it did not pass
};

/// Where the elements of a dataset lie.
Layout read_layout(Cursor& c, GlobalHeap& heap);
/// The list of files that have the elements of a dataset: throws Foreign.
[[noreturn]] void read_other_files(Cursor& c);
std::vector<Filter> read_filters(Cursor c);

/// Bytes in the file of a chunk of so many, where its filters leave no choice. skipped: a bit for
/// each filter that it did not pass.
std::optional<std::uint64_t> stored_bytes(std::uint64_t chunk_bytes,
                                          const std::vector<Filter>& filters,
                                          std::uint64_t skipped);
bool are_known(const std::vector<Filter>& filters);
/// A chunk as it was before its filters; nothing where it cannot be uncompressed. at: for messages.
std::optional<std::string> unfiltered(const File& file, std::string bytes,
                                      const std::vector<Filter>& filters, std::uint64_t skipped,
                                      const Layout& layout, std::uint64_t at);

}  // namespace micrec::hdf5_structure
