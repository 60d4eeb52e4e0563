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

/// A B-tree: what its nodes are of and how large they are, and what to do with their entries.
struct Tree {
  NodeKind kind;
  const char* what;
  std::uint64_t most_entries;
  std::uint64_t node_bytes;
  std::function<void(Cursor&)> begin;   // reads what a node has before its entries
  std::function<Chunk(Cursor&)> entry;  // reads an entry: where it leads to
  std::function<void(const Chunk&)> use_leaf;
};

void follow(const File& file, const Tree& tree, std::uint64_t address,
            std::optional<std::uint64_t> expected_level, std::set<std::uint64_t>& seen) {
  if (!seen.insert(address).second) file.fail(address, "a B-tree that contains itself");
  const std::string bytes = file.read(address, tree.node_bytes, tree.what);
  Cursor c(file, address, bytes, tree.what);
  c.expect(c.take(4) == "TREE" && c.number(1) == static_cast<std::uint64_t>(tree.kind),
           "has another signature");
  const std::uint64_t level = c.number(1);
  const std::uint64_t entries = c.number(2);
  c.expect(level <= kDeepestTree && (!expected_level || level == *expected_level),
           "is of a wrong level");
  c.expect(entries <= tree.most_entries, "has too many entries");
  c.skip(16);  // siblings
  tree.begin(c);
  for (std::uint64_t i = 0; i < entries; ++i) {
    const Chunk child = tree.entry(c);
    if (level == 0) {
      tree.use_leaf(child);
    } else {
      follow(file, tree, child.at, level - 1, seen);
    }
  }
}

void check_symbols(const File& file, const TreeSizes& sizes, std::uint64_t address,
                   const std::string& names, Found& found) {
  const std::string bytes = file.read(address, 8 + 2 * sizes.leaf * 40, "a list of names");
  Cursor c(file, address, bytes, "a list of names");
  c.expect(c.take(4) == "SNOD" && c.number(1) == 1, "has another signature");
  c.skip(1);
  const std::uint64_t entries = c.number(2);
  c.expect(entries <= 2 * sizes.leaf, "has too many entries");
  for (std::uint64_t i = 0; i < entries; ++i) {
    check_name(c, c.number(8), names);
    const std::uint64_t object = c.address();
    const std::uint64_t cached = c.number(4);
    c.skip(4);
    Cursor scratch = c.part(16, "a list of names");
    c.expect(cached <= static_cast<std::uint64_t>(Cached::soft_link),
             "has an entry of an unknown kind");
    if (static_cast<Cached>(cached) == Cached::soft_link) {
      check_name(c, scratch.number(4), names);
      continue;
    }
    if (static_cast<Cached>(cached) == Cached::group) {
      const std::uint64_t tree = scratch.address();
      found.groups.emplace_back(tree, scratch.address());
    }
    found.objects.push_back(object);
  }
}

}  // namespace

void check_group(const File& file, const TreeSizes& sizes, std::uint64_t tree, std::uint64_t heap,
                 Found& found) {
  const std::string names = read_local_heap(file, heap);
  std::set<std::uint64_t> seen;
  const auto entry = [&](Cursor& c) {
    const Chunk child{c.address(), 0, 0};
    check_name(c, c.number(8), names);
    return child;
  };
  const auto use_leaf = [&](const Chunk& leaf) {
    if (!seen.insert(leaf.at).second) file.fail(leaf.at, "a list of names that comes twice");
    check_symbols(file, sizes, leaf.at, names, found);
  };
  const Tree of_names{NodeKind::names,
                      "a B-tree of names",
                      2 * sizes.internal,
                      24 + 2 * sizes.internal * 16 + 8,
                      [&](Cursor& c) { check_name(c, c.number(8), names); },
                      entry,
                      use_leaf};
  follow(file, of_names, tree, std::nullopt, seen);
}

void check_chunk_tree(const File& file, const TreeSizes& sizes, int dimensions,
                      std::uint64_t address, const std::function<void(const Chunk&)>& use) {
  const std::uint64_t coordinate_bytes = 8 * static_cast<std::uint64_t>(dimensions);
  const std::uint64_t key_bytes = 8 + coordinate_bytes;
  const auto entry = [&](Cursor& c) {
    Chunk chunk{};
    chunk.stored = c.number(4);
    chunk.skipped = c.number(4);
    c.skip(coordinate_bytes);
    chunk.at = c.address();
    return chunk;
  };
  const Tree of_chunks{NodeKind::chunks,
                       "a B-tree of chunks",
                       2 * sizes.chunk,
                       24 + 2 * sizes.chunk * (8 + key_bytes) + key_bytes,
                       [](Cursor&) {},
                       entry,
                       use};
  std::set<std::uint64_t> seen;
  follow(file, of_chunks, address, std::nullopt, seen);
}

}  // namespace micrec::hdf5_structure
