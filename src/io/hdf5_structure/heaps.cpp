#include "io/hdf5_structure/heaps.h"

#include <algorithm>

#include "base/excerpt.h"
#include "base/text.h"

namespace micrec::hdf5_structure {
namespace {

constexpr std::uint64_t kReferencesAtOnce = 65536;

}  // namespace

std::string read_local_heap(const File& file, std::uint64_t address) {
  const std::string head = file.read(address, 32, "a heap of names");
  Cursor c(file, address, head, "a heap of names");
  c.expect(c.take(4) == "HEAP" && c.number(1) == 0, "has another signature");
  c.skip(3);
  const std::uint64_t size = c.number(8);
  std::uint64_t free = c.number(8);
  const std::uint64_t data = c.address();
  std::string names = file.read(data, size, "a heap of names");
  std::uint64_t free_bytes = 0;
  while (free != kUndefined && free != 1) {  // 1 is how the library writes an empty list
    c.expect(free <= size && size - free >= 16, "has a free part outside of it");
    Cursor part(file, data + free, std::string_view(names).substr(free, 16), "a heap of names");
    const std::uint64_t next = part.number(8);
    const std::uint64_t bytes = part.number(8);
    c.expect(bytes >= 16 && bytes <= size - free, "has a free part of a wrong size");
    free_bytes += bytes;
    c.expect(free_bytes <= size, "has free parts that contain each other");
    free = next;
  }
  return names;
}

void check_name(const Cursor& c, std::uint64_t offset, const std::string& names) {
  const std::size_t end = offset < names.size() ? names.find('\0', offset) : std::string::npos;
  c.expect(end != std::string::npos, "has a name outside of its heap");
  c.expect(is_printable(std::string_view(names).substr(offset, end - offset)),
           "has a name that is no printable UTF-8");
}

void GlobalHeap::check_references(const Type& type, std::string_view elements,
                                  std::uint64_t address) {
  if (!type.is_variable_text) return;
  Cursor c(file_, address, elements, "a string of variable length");
  while (c.left() >= kReferenceBytes) {
    const std::uint64_t length = c.number(4);
    const std::uint64_t collection = c.address();
    const std::uint64_t index = c.number(4);
    if (collection == 0) continue;  // an empty string
    const std::vector<HeapObject>& objects = collection_at(collection);
    c.expect(index < objects.size() && objects[index].bytes != kUndefined, "refers to nothing");
    c.expect(length == objects[index].bytes, "is of another length than what it refers to");
    text_bytes_ += length;
    // Written once each, so that all of them are in the file.
    c.expect(text_bytes_ <= file_.bytes(), "is one of more than the file holds");
  }
}

void GlobalHeap::check_references_at(const Type& type, std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t step = kReferencesAtOnce * type.bytes;
  for (std::uint64_t done = 0; done < bytes; done += step) {
    const std::uint64_t size = std::min(step, bytes - done);
    check_references(type, file_.read(address + done, size, "strings"), address + done);
  }
}

std::string GlobalHeap::first_virtual_source(std::uint64_t collection, std::uint64_t index) {
  const std::vector<HeapObject>& objects = collection_at(collection);
  if (index >= objects.size() || objects[index].bytes == kUndefined) return "";
  const auto [address, bytes] = objects[index];
  if (bytes < 10) return "";
  const std::string list = file_.read(address, bytes, "a list of sources");
  Cursor sources(file_, address, list, "a list of sources");
  if (sources.number(1) != 0 || sources.number(8) == 0) return "";
  const std::string_view names = sources.take(sources.left());
  const std::size_t end = names.find('\0');
  const std::size_t second = names.find('\0', end + 1);
  if (end == std::string_view::npos || second == std::string_view::npos) return "";
  const std::string_view file = names.substr(0, end);
  return text(excerpt(file == "." ? "this file" : file), ":",
              excerpt(names.substr(end + 1, second - end - 1)));
}

/// The objects of a collection of the global heap, by their numbers.
const std::vector<GlobalHeap::HeapObject>& GlobalHeap::collection_at(std::uint64_t address) {
  const auto known = collections_.find(address);
  if (known != collections_.end()) return known->second;
  const std::string head = file_.read(address, 16, "a global heap");
  Cursor c(file_, address, head, "a global heap");
  c.expect(c.take(4) == "GCOL" && c.number(1) == 1, "has another signature");
  c.skip(3);
  const std::uint64_t size = c.number(8);
  c.expect(size >= 4096 && file_.holds(address, size), "is larger than the file");
  const std::string whole = file_.read(address, size, "a global heap");
  Cursor o(file_, address, whole, "a global heap");
  o.skip(16);
  std::vector<HeapObject> objects;
  while (o.left() >= 16) {
    const std::uint64_t room = o.left();
    const std::uint64_t index = o.number(2);
    o.skip(6);
    const std::uint64_t bytes = o.number(8);
    if (index == 0) {  // free: its bytes count from its own beginning
      o.expect(bytes >= 16 && bytes <= room && bytes % 8 == 0, "has a wrong free part");
      o.skip(bytes - 16);
      continue;
    }
    o.expect(bytes <= room - 16, "has an object that is longer than itself");
    if (index >= objects.size()) objects.resize(index + 1);
    o.expect(objects[index].bytes == kUndefined, "has two objects of one number");
    objects[index] = {o.position(), bytes};
    o.skip((bytes + 7) / 8 * 8);
  }
  return collections_.emplace(address, std::move(objects)).first->second;
}

}  // namespace micrec::hdf5_structure
