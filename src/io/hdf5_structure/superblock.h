#pragma once

#include <cstdint>
#include <optional>

#include "io/hdf5_structure/b_trees.h"
#include "io/hdf5_structure/bytes.h"

namespace micrec::hdf5_structure {

/// Where a file begins.
struct Superblock {
  TreeSizes sizes;
  std::uint64_t root = 0;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> root_group;  // its B-tree and heap
  std::uint64_t extension = kUndefined;                               // an object
};

/// Sets the extent of the file as its superblock says; nothing where it has none, or ends before
/// that says so.
std::optional<Superblock> read_superblock(File& file);

}  // namespace micrec::hdf5_structure
