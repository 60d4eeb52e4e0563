#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "io/hdf5_structure/b_trees.h"
#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/heaps.h"
#include "io/hdf5_structure/object_header.h"

namespace micrec::hdf5_structure {

/// Checks where the elements of datasets lie, and the strings in them.
class ElementCheck {
 public:
  ElementCheck(const File& file, GlobalHeap& heap, const TreeSizes& sizes)
      : file_(file), heap_(heap), sizes_(sizes) {}

  /// Of an object that has a layout. Errors: Foreign where its filters are not known here.
  void check(std::uint64_t address, const Object& object);

  /// See Hdf5Structure.
  bool awaits_chunks(std::uint64_t object) const { return unlisted_.count(object) > 0; }
  void check_text_chunk(std::uint64_t address, const std::string& stored, std::uint64_t skipped);

  /// Frees the memory for what was read.
  void forget() { chunks_.clear(); }

 private:
  void check_chunks(std::uint64_t address, const Object& object, bool has_references);
  void check_chunk(std::uint64_t address, const Object& object, const Chunk& chunk,
                   bool& is_size_known);
  bool check_chunk_size(std::uint64_t address, const Object& object, std::uint64_t stored,
                        std::uint64_t skipped) const;
  void check_texts(const Object& object, const std::string& stored, std::uint64_t skipped,
                   std::uint64_t at);

  const File& file_;
  GlobalHeap& heap_;
  const TreeSizes& sizes_;
  // Datasets of texts whose chunks are in an index that the library reads, by address.
  std::map<std::uint64_t, Object> unlisted_;
  std::set<std::uint64_t> chunks_;  // addresses
};

}  // namespace micrec::hdf5_structure
