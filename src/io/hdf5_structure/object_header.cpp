#include "io/hdf5_structure/object_header.h"

#include <algorithm>
#include <set>

#include "base/excerpt.h"
#include "base/text.h"

namespace micrec::hdf5_structure {
namespace {

constexpr int kMostTypesFollowed = 16;

/// Kinds of messages. Others have nothing that the library follows into memory.
enum class Message : std::uint64_t {
  shape = 0x1,
  link_info = 0x2,  // how the links of a group are kept
  type = 0x3,
  old_fill = 0x4,
  fill = 0x5,
  link = 0x6,
  other_files = 0x7,
  layout = 0x8,
  filters = 0xB,
  attribute = 0xC,
  continuation = 0x10,
  group = 0x11,
  tree_sizes = 0x13,
  attribute_info = 0x15,  // how attributes are kept
  last_known = 0x17,
};

/// Bits of a message's flags.
constexpr std::uint64_t kIsShared = 0x2;  // the message is elsewhere
constexpr std::uint64_t kUnknownIsFailure = 0x80;

std::uint64_t end_after(const File& file, std::uint64_t address) {
  std::uint64_t size = 64;
  while (size > 1 && !file.holds(address, size)) --size;
  return size;
}

/// Where a heap and its B-trees begin; what they hold is under checksums that the library
/// compares.
void check_heap_and_trees(Cursor& c, std::size_t order_bytes) {
  c.expect_version(c.number(1), 0, 0, "what tells how links or attributes are kept");
  const std::uint64_t flags = c.number(1);
  if ((flags & 1) != 0) c.skip(order_bytes);
  c.expect_at(c.address(), "FRHP");
  c.expect_at(c.address(), "BTHD");
  if ((flags & 2) != 0) c.expect_at(c.address(), "BTHD");
}

std::uint64_t shared_address(Cursor& c) {
  const std::uint64_t version = c.number(1);
  const std::uint64_t where = c.number(1);
  c.expect_version(version, 1, 3, "what refers to a shared message");
  if (version == 3 && where == 1) {
    throw Foreign{
        "shares what describes it with other objects in a heap, which this program does not "
        "check; write it again without H5Pset_shared_mesg_index"};
  }
  if (version == 1) c.skip(6);
  return c.address();
}

void check_fill(Cursor c) {
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 1, 3, "a fill value");
  if (version == 3) {
    const std::uint64_t flags = c.number(1);
    if ((flags & 0x20) != 0) c.skip(c.number(4));
    return;
  }
  c.skip(2);
  const std::uint64_t is_defined = c.number(1);
  if (version == 1 || is_defined != 0) {
    const std::uint64_t bytes = c.number(4);
    if (static_cast<std::int32_t>(bytes) > 0) c.skip(bytes);
  }
}

}  // namespace

void HeaderReader::read(std::uint64_t address, Owner owner, Object& object) {
  types_followed_ = 0;
  owner_ = owner;
  read_header(address, object);
}

void HeaderReader::read_header(std::uint64_t address, Object& object) {
  const std::string start = file_.read(address, 16, "an object header");
  if (start.starts_with("OHDR")) {
    read_new_header(address, object);
  } else {
    read_old_header(address, start, object);
  }
}

void HeaderReader::read_old_header(std::uint64_t address, std::string_view start, Object& object) {
  Cursor c(file_, address, start, "an object header");
  c.expect_version(c.number(1), 1, 1, "an object header");
  c.skip(1);
  std::uint64_t messages = c.number(2);
  c.skip(4);
  const std::uint64_t first_bytes = c.number(4);
  Blocks blocks = {{address + 16, first_bytes}};
  std::set<std::uint64_t> begun;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (!begun.insert(blocks[b].first).second) c.fail("goes on in one of its own blocks");
    const std::string bytes = file_.read(blocks[b].first, blocks[b].second, "an object header");
    Cursor block(file_, blocks[b].first, bytes, "an object header");
    while (block.left() >= 8) {
      block.expect(messages-- > 0, "has more messages than it tells");
      const std::uint64_t kind = block.number(2);
      const std::uint64_t size = block.number(2);
      const std::uint64_t flags = block.number(1);
      block.skip(3);
      block.expect(size % 8 == 0, "has a message of a wrong length");
      check_message(kind, flags, block.part(size, "a message of an object header"), blocks, object);
    }
    block.expect(block.left() == 0, "has bytes left over");
  }
  c.expect(messages == 0, "has fewer messages than it tells");
}

void HeaderReader::read_new_header(std::uint64_t address, Object& object) {
  const std::string start = file_.read(
      address, std::min<std::uint64_t>(64, end_after(file_, address)), "an object header");
  Cursor c(file_, address, start, "an object header");
  c.skip(4);
  c.expect_version(c.number(1), 2, 2, "an object header");
  const std::uint64_t flags = c.number(1);
  if ((flags & 0x20) != 0) c.skip(16);
  if ((flags & 0x10) != 0) c.skip(4);
  const std::uint64_t first_bytes = c.number(std::size_t{1} << (flags & 3));
  const std::uint64_t first_head = c.position() - address;
  constexpr std::uint64_t kChecksumBytes = 4;
  // Whole blocks, each with its signature and its checksum.
  Blocks blocks = {{address, first_head + std::min(first_bytes, kUndefined / 2) + kChecksumBytes}};
  std::set<std::uint64_t> begun;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (!begun.insert(blocks[b].first).second) c.fail("goes on in one of its own blocks");
    const std::string whole = file_.read(blocks[b].first, blocks[b].second, "an object header");
    if (whole.size() < 8) c.fail("has a block that is too short");
    const std::string_view bytes = std::string_view(whole).substr(0, whole.size() - kChecksumBytes);
    Cursor sum(file_, blocks[b].first + bytes.size(), std::string_view(whole).substr(bytes.size()),
               "an object header");
    sum.expect(sum.number(4) == checksum_of(bytes), "has a checksum that does not fit");
    Cursor block(file_, blocks[b].first, bytes, "an object header", Checksum::right);
    if (b == 0) {
      block.skip(first_head);
    } else {
      block.expect(block.take(4) == "OCHK", "has a block of another kind");
    }
    const std::uint64_t head = (flags & 4) != 0 ? 6 : 4;
    while (block.left() >= head) {
      const std::uint64_t kind = block.number(1);
      const std::uint64_t size = block.number(2);
      const std::uint64_t message_flags = block.number(1);
      block.skip(head - 4);
      block.expect(size <= block.left(), "has a message that is too long");
      check_message(kind, message_flags, block.part(size, "a message of an object header"), blocks,
                    object);
    }
  }
}

void HeaderReader::check_message(std::uint64_t kind, std::uint64_t flags, const Cursor& c,
                                 Blocks& blocks, Object& object) {
  try {
    follow_message(kind, flags, c, blocks, object);
  } catch (const Foreign& foreign) {
    // An attribute is refused by the library when it is asked for.
    if (kind != static_cast<std::uint64_t>(Message::attribute) && object.obstacle.empty())
      object.obstacle = foreign.what;
  }
}

void HeaderReader::follow_message(std::uint64_t kind, std::uint64_t flags, Cursor c, Blocks& blocks,
                                  Object& object) {
  const auto message = static_cast<Message>(kind);
  if ((flags & kIsShared) != 0) {
    const std::uint64_t target = shared_address(c);
    if (message == Message::type) object.type = type_of_object(target);
    found_.objects.push_back(target);
    return;
  }
  switch (message) {
    case Message::shape:
      object.shape = read_shape(c);
      break;
    case Message::type:
      object.type = read_type(c);
      break;
    case Message::link:
      check_link(c);
      break;
    case Message::other_files:
      read_other_files(c);
    case Message::layout:
      object.layout = read_layout(c, heap_);
      break;
    case Message::old_fill:
      c.skip(c.number(4));
      break;
    case Message::fill:
      check_fill(c);
      break;
    case Message::filters:
      object.filters = read_filters(c);
      break;
    case Message::attribute:
      check_attribute(c);
      break;
    case Message::continuation: {
      const std::uint64_t address = c.address();
      blocks.emplace_back(address, c.number(8));
      break;
    }
    case Message::group: {
      const std::uint64_t tree = c.address();
      found_.groups.emplace_back(tree, c.address());
      break;
    }
    case Message::tree_sizes:
      if (owner_ == Owner::superblock) read_tree_sizes(c);
      break;
    case Message::link_info:
      check_heap_and_trees(c, 8);
      break;
    case Message::attribute_info:
      check_heap_and_trees(c, 2);
      break;
    default:
      if (message > Message::last_known && (flags & kUnknownIsFailure) != 0)
        c.newer(text("a message of kind ", kind));
      break;
  }
}

void HeaderReader::read_tree_sizes(Cursor& c) {
  c.expect_version(c.number(1), 0, 0, "the sizes of B-trees");
  sizes_.chunk = c.number(2);
  sizes_.internal = c.number(2);
  sizes_.leaf = c.number(2);
  c.expect(sizes_.have_room(), "has B-trees without room");
}

void HeaderReader::check_attribute(Cursor c) {
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 1, 3, "an attribute");
  const std::uint64_t flags = c.number(1);
  const std::uint64_t name_bytes = c.number(2);
  const std::uint64_t type_bytes = c.number(2);
  const std::uint64_t shape_bytes = c.number(2);
  if (version == 3) c.skip(1);
  const auto padded = [version](std::uint64_t size) {
    return version == 1 ? (size + 7) / 8 * 8 : size;
  };
  const std::string_view name = c.take(padded(name_bytes));
  c.expect(name_bytes > 0 && name.substr(0, name_bytes).back() == '\0',
           "is an attribute without a name");
  Cursor type_part = c.part(padded(type_bytes), "the type of an attribute");
  Type type;
  if (version > 1 && (flags & 1) != 0) {
    const std::uint64_t target = shared_address(type_part);
    type = type_of_object(target);
    found_.objects.push_back(target);
  } else {
    type = read_type(type_part);
  }
  Cursor shape_part = c.part(padded(shape_bytes), "the shape of an attribute");
  c.expect(version == 1 || (flags & 2) == 0, "is an attribute whose shape is elsewhere");
  const Shape shape = read_shape(shape_part);
  const std::optional<std::uint64_t> bytes = product(shape.elements, type.bytes);
  c.expect(bytes && *bytes <= c.left(), "is an attribute that is longer than its header");
  const std::uint64_t begin = c.position();
  heap_.check_references(type, c.take(*bytes), begin);
}

void HeaderReader::check_link(Cursor c) {
  c.expect_version(c.number(1), 1, 1, "a link");
  const std::uint64_t flags = c.number(1);
  const std::uint64_t kind = (flags & 8) != 0 ? c.number(1) : 0;
  if ((flags & 4) != 0) c.skip(8);
  if ((flags & 16) != 0) c.skip(1);
  const std::uint64_t name_bytes = c.number(std::size_t{1} << (flags & 3));
  c.expect(name_bytes > 0, "is a link without a name");
  c.expect(is_printable(c.take(name_bytes)), "is a link whose name is no printable UTF-8");
  if (kind == 0) {
    found_.objects.push_back(c.address());
  } else {
    c.skip(c.number(2));
  }
}

/// The type that a committed type's object holds.
Type HeaderReader::type_of_object(std::uint64_t address) {
  Object object;
  if (types_followed_ >= kMostTypesFollowed) file_.fail(address, "types refer to each other");
  const std::uint64_t text_bytes = heap_.text_bytes();  // counted when the object itself is checked
  ++types_followed_;
  read_header(address, object);  // throws Foreign only before there is a message
  --types_followed_;
  heap_.take_back_to(text_bytes);
  if (!object.obstacle.empty()) throw Foreign{object.obstacle};
  if (!object.type) file_.fail(address, "a type is expected here");
  return *object.type;
}

}  // namespace micrec::hdf5_structure
