#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/hdf5_structure/b_trees.h"
#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/heaps.h"
#include "io/hdf5_structure/storage.h"
#include "io/hdf5_structure/types.h"

namespace micrec::hdf5_structure {

/// What the messages of one object say together.
struct Object {
  std::optional<Type> type;
  std::optional<Shape> shape;
  std::optional<Layout> layout;
  std::vector<Filter> filters;
  std::string obstacle;  // the first of its messages that is not for this program
};

/// Whose messages are read: those of the superblock's extension tell the sizes of B-trees.
enum class Owner { object, superblock };

/// Reads the headers of objects, message by message. What they lead to is added to `found`.
class HeaderReader {
 public:
  HeaderReader(const File& file, GlobalHeap& heap, TreeSizes& sizes, Found& found)
      : file_(file), heap_(heap), sizes_(sizes), found_(found) {}

  /// Errors   Foreign where the whole object is not for this program.
  void read(std::uint64_t address, Owner owner, Object& object);

 private:
  using Blocks = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // address and bytes

  void read_header(std::uint64_t address, Object& object);
  void read_old_header(std::uint64_t address, std::string_view start, Object& object);
  void read_new_header(std::uint64_t address, Object& object);
  void check_message(std::uint64_t kind, std::uint64_t flags, const Cursor& c, Blocks& blocks,
                     Object& object);
  void follow_message(std::uint64_t kind, std::uint64_t flags, Cursor c, Blocks& blocks,
                      Object& object);
  void read_tree_sizes(Cursor& c);
  void check_attribute(Cursor c);
  void check_link(Cursor c);
  Type type_of_object(std::uint64_t address);

  const File& file_;
  GlobalHeap& heap_;
  TreeSizes& sizes_;
  Found& found_;
  Owner owner_ = Owner::object;
  int types_followed_ = 0;
};

}  // namespace micrec::hdf5_structure
