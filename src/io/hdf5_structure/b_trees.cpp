#include "io/hdf5_structure/b_trees.h"

#include <optional>
#include <set>
#include <string>

#include "io/hdf5_structure/heaps.h"

namespace micrec::hdf5_structure {
namespace {

constexpr std::uint64_t kDeepestTree = 16;

/// What a node is of, as its head says.
enum class NodeKind : std::uint64_t { names = 0, chunks = 1 };

/// What an entry of a list of names has beside it of the object that it leads to.
enum class Cached : std::uint64_t { nothing = 0, group = 1, soft_link = 2 };

struct NodeHead {
  std::uint64_t level;
  std::uint64_t entries;
};

NodeHead read_node_head(Cursor& c, NodeKind kind, std::uint64_t most_entries,
                        std::optional<std::uint64_t> expected_level) {
  c.expect(c.take(4) == "TREE" && c.number(1) == static_cast<std::uint64_t>(kind),
           "has another signature");
  const std::uint64_t level = c.number(1);
  const std::uint64_t entries = c.number(2);
  c.expect(level <= kDeepestTree && (!expected_level || level == *expected_level),
           "is of a wrong level");
  c.expect(entries <= most_entries, "has too many entries");
  c.skip(16);  // siblings
  return {level, entries};
}

class GroupTree {
 public:
  GroupTree(const File& file, const TreeSizes& sizes, const std::string& names, Found& found)
      : file_(file), sizes_(sizes), names_(names), found_(found) {}

  void check(std::uint64_t address, std::optional<std::uint64_t> expected_level) {
    if (!seen_.insert(address).second) file_.fail(address, "a B-tree that contains itself");
    const std::uint64_t node_bytes = 24 + 2 * sizes_.internal * 16 + 8;
    const std::string bytes = file_.read(address, node_bytes, "a B-tree of names");
    Cursor c(file_, address, bytes, "a B-tree of names");
    const auto [level, entries] =
        read_node_head(c, NodeKind::names, 2 * sizes_.internal, expected_level);
    check_name(c, c.number(8), names_);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t child = c.address();
      check_name(c, c.number(8), names_);
      if (level == 0) {
        check_symbols(child);
      } else {
        check(child, level - 1);
      }
    }
  }

 private:
  void check_symbols(std::uint64_t address) {
    if (!seen_.insert(address).second) file_.fail(address, "a list of names that comes twice");
    const std::string bytes = file_.read(address, 8 + 2 * sizes_.leaf * 40, "a list of names");
    Cursor c(file_, address, bytes, "a list of names");
    c.expect(c.take(4) == "SNOD" && c.number(1) == 1, "has another signature");
    c.skip(1);
    const std::uint64_t entries = c.number(2);
    c.expect(entries <= 2 * sizes_.leaf, "has too many entries");
    for (std::uint64_t i = 0; i < entries; ++i) {
      check_name(c, c.number(8), names_);
      const std::uint64_t object = c.address();
      const std::uint64_t cached = c.number(4);
      c.skip(4);
      Cursor scratch = c.part(16, "a list of names");
      c.expect(cached <= static_cast<std::uint64_t>(Cached::soft_link),
               "has an entry of an unknown kind");
      if (static_cast<Cached>(cached) == Cached::soft_link) {
        check_name(c, scratch.number(4), names_);
        continue;
      }
      if (static_cast<Cached>(cached) == Cached::group) {
        const std::uint64_t tree = scratch.address();
        found_.groups.emplace_back(tree, scratch.address());
      }
      found_.objects.push_back(object);
    }
  }

  const File& file_;
  const TreeSizes& sizes_;
  const std::string& names_;
  Found& found_;
  std::set<std::uint64_t> seen_;
};

class ChunkTree {
 public:
  ChunkTree(const File& file, const TreeSizes& sizes, int dimensions,
            const std::function<void(const Chunk&)>& use)
      : file_(file),
        sizes_(sizes),
        coordinate_bytes_(8 * static_cast<unsigned>(dimensions)),
        use_(use) {}

  void check(std::uint64_t address, std::optional<std::uint64_t> expected_level) {
    if (!seen_.insert(address).second) file_.fail(address, "a B-tree that contains itself");
    const std::uint64_t key_bytes = 8 + coordinate_bytes_;
    const std::uint64_t node_bytes = 24 + 2 * sizes_.chunk * (8 + key_bytes) + key_bytes;
    const std::string bytes = file_.read(address, node_bytes, "a B-tree of chunks");
    Cursor c(file_, address, bytes, "a B-tree of chunks");
    const auto [level, entries] =
        read_node_head(c, NodeKind::chunks, 2 * sizes_.chunk, expected_level);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t stored = c.number(4);
      const std::uint64_t skipped = c.number(4);
      c.skip(coordinate_bytes_);
      const std::uint64_t child = c.address();
      if (level == 0) {
        use_({child, stored, skipped});
      } else {
        check(child, level - 1);
      }
    }
  }

 private:
  const File& file_;
  const TreeSizes& sizes_;
  std::uint64_t coordinate_bytes_;
  const std::function<void(const Chunk&)>& use_;
  std::set<std::uint64_t> seen_;
};

}  // namespace

void check_group(const File& file, const TreeSizes& sizes, std::uint64_t tree, std::uint64_t heap,
                 Found& found) {
  const std::string names = read_local_heap(file, heap);
  GroupTree(file, sizes, names, found).check(tree, std::nullopt);
}

void check_chunk_tree(const File& file, const TreeSizes& sizes, int dimensions,
                      std::uint64_t address, const std::function<void(const Chunk&)>& use) {
  ChunkTree(file, sizes, dimensions, use).check(address, std::nullopt);
}

}  // namespace micrec::hdf5_structure
