#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "io/hdf5_structure/bytes.h"

namespace micrec::hdf5_structure {

/// Half of the entries that nodes of B-trees have, as the superblock or its extension says.
struct TreeSizes {
  std::uint64_t leaf = 4;       // lists of names
  std::uint64_t internal = 16;  // nodes of groups
  std::uint64_t chunk = 32;     // nodes of chunks

  bool have_room() const { return leaf > 0 && internal > 0 && chunk > 0; }
};

/// What was come to and is still to be checked. Lists and not recursion: a damaged file may nest as
/// deep as it is long.
struct Found {
  std::vector<std::uint64_t> objects;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> groups;  // addresses of B-tree and heap
};

/// Follows the names of a group; what they lead to is added to `found`.
void check_group(const File& file, const TreeSizes& sizes, std::uint64_t tree, std::uint64_t heap,
                 Found& found);

/// Where a chunk lies, its bytes there, and a bit for each filter that it did not pass.
struct Chunk {
  std::uint64_t at;
  std::uint64_t stored;
  std::uint64_t skipped;
};

/// Follows a B-tree of chunks of so many dimensions, the element's bytes among them.
void check_chunk_tree(const File& file, const TreeSizes& sizes, int dimensions,
                      std::uint64_t address, const std::function<void(const Chunk&)>& use);

}  // namespace micrec::hdf5_structure
