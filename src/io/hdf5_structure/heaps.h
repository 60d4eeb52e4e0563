#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/types.h"

namespace micrec::hdf5_structure {

/// The names of a group or of other files: a local heap.
std::string read_local_heap(const File& file, std::uint64_t address);
/// That a printable name begins at an offset of such a heap.
void check_name(const Cursor& c, std::uint64_t offset, const std::string& names);

/// Strings of variable length, which lie in collections of the global heap.
class GlobalHeap {
 public:
  explicit GlobalHeap(const File& file) : file_(file) {}

  /// Elements that refer to it, where they are texts: others are never read. Each string is written
  /// once, so that the bytes of all of them are in the file.
  void check_references(const Type& type, std::string_view elements, std::uint64_t address);
  /// The same for elements that lie in the file.
  void check_references_at(const Type& type, std::uint64_t address, std::uint64_t bytes);

  /// FILE:DATASET of the first source of a virtual dataset, whose list is an object of the heap; ""
  /// where it cannot be told.
  std::string first_virtual_source(std::uint64_t collection, std::uint64_t index);

  /// Bytes of the strings so far; what was counted too early is taken back.
  std::uint64_t text_bytes() const { return text_bytes_; }
  void take_back_to(std::uint64_t text_bytes) { text_bytes_ = text_bytes; }
  /// Frees the memory for what was read.
  void forget() { collections_.clear(); }

 private:
  struct HeapObject {
    std::uint64_t address = 0;
    std::uint64_t bytes = kUndefined;  // kUndefined: there is none of this number
  };
  const std::vector<HeapObject>& collection_at(std::uint64_t address);

  const File& file_;
  std::map<std::uint64_t, std::vector<HeapObject>> collections_;
  std::uint64_t text_bytes_ = 0;
};

}  // namespace micrec::hdf5_structure
