#include "io/hdf5_structure/superblock.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/text.h"

namespace micrec::hdf5_structure {
namespace {

constexpr std::uint64_t kOpenToWrite = 1 | 4;  // plainly, or for readers beside it

/// What a superblock says of the file as it lies on the disk.
struct Extent {
  std::uint64_t base = 0;
  std::uint64_t end = 0;
};

void read_address_sizes(Cursor& c) {
  const std::uint64_t address_bytes = c.number(1);
  const std::uint64_t length_bytes = c.number(1);
  const auto is_size = [](std::uint64_t bytes) {
    return std::has_single_bit(bytes) && bytes <= 32;
  };
  c.expect(is_size(address_bytes) && is_size(length_bytes), "has addresses of an unknown size");
  if (address_bytes != 8 || length_bytes != 8) {
    c.file().refuse(text("keeps addresses in ", address_bytes, " bytes and lengths in ",
                         length_bytes,
                         ", where this program reads those of 8; write it again without "
                         "H5Pset_sizes"));
  }
}

/// Versions 0 and 1, whose root is an entry of a list of names.
void read_old(Cursor& c, std::uint64_t version, Superblock& found, Extent& extent) {
  c.skip(4);
  read_address_sizes(c);
  c.skip(1);
  found.sizes.leaf = c.number(2);
  found.sizes.internal = c.number(2);
  c.skip(4);
  if (version == 1) {
    found.sizes.chunk = c.number(2);
    c.skip(2);
  }
  c.expect(found.sizes.have_room(), "has B-trees without room");
  extent.base = c.address();
  c.skip(8);  // free space
  extent.end = c.address();
  if (c.address() != kUndefined)
    c.file().refuse("is one of several files that are one (a driver of HDF5): join them first");
  c.skip(8);
  found.root = c.address();
  const std::uint64_t cached = c.number(4);
  c.skip(4);
  c.expect(cached <= 1, "has a root of an unknown kind");
  if (cached == 0) return;
  const std::uint64_t tree = c.address();
  const std::uint64_t heap = c.address();
  if (tree != kUndefined) found.root_group.emplace(tree, heap);
}

/// Versions 2 and 3. bytes: from the signature on.
void read_new(Cursor& c, std::uint64_t version, std::string_view bytes, std::uint64_t begin,
              Superblock& found, Extent& extent) {
  read_address_sizes(c);
  const std::uint64_t flags = c.number(1);
  extent.base = c.address();
  found.extension = c.address();
  extent.end = c.address();
  found.root = c.address();
  const std::uint64_t size = c.position() - begin;
  c.expect(c.number(4) == checksum_of(bytes.substr(0, size)), "has a checksum that does not fit");
  if (version == 3 && (flags & kOpenToWrite) != 0) {
    c.file().refuse(
        "says that a program is writing to it; wait until that has closed it, or, if it died, look "
        "whether the file is complete and run h5clear -s on it");
  }
}

std::optional<std::uint64_t> find_signature(const File& file) {
  for (std::uint64_t at = 0; file.holds(at, 8); at = at == 0 ? 512 : 2 * at) {
    if (file.read(at, 8, "the signature") == "\x89HDF\r\n\x1a\n") return at;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Superblock> read_superblock(File& file) {
  file.set_extent(0, file.bytes());
  const std::optional<std::uint64_t> begin = find_signature(file);
  if (!begin) return std::nullopt;
  const std::uint64_t most = std::min<std::uint64_t>(128, file.bytes() - *begin);
  const std::string bytes = file.read(*begin, most, "the superblock");
  Cursor c(file, *begin, bytes, "the superblock");
  c.skip(8);
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 0, 3, "a superblock");
  Superblock found;
  Extent extent;
  if (version < 2) {
    read_old(c, version, found, extent);
  } else {
    read_new(c, version, bytes, *begin, found, extent);
  }
  // The end counts from the file's beginning and all else from the superblock, wherever both have
  // been moved to.
  c.expect(extent.base <= extent.end, "ends before it begins");
  const std::uint64_t size = extent.end - extent.base;
  if (size > file.bytes() - *begin) return std::nullopt;
  file.set_extent(*begin, size);
  return found;
}

}  // namespace micrec::hdf5_structure
