#include "io/hdf5_structure/hdf5_structure.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

// Names and numbers are those of the "HDF5 File Format Specification Version 3.0".

namespace micrec {
namespace {

constexpr std::uint64_t kUndefined = std::numeric_limits<std::uint64_t>::max();
constexpr int kMostDimensions = 32;
constexpr int kDeepestType = 16;
constexpr int kDeepestTree = 16;
constexpr std::uint64_t kMostTextChunkBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostDeflation = 1100;  // 1,032 bytes out of one, at most, and a margin

class File {
 public:
  explicit File(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (descriptor_ < 0 || fstat(descriptor_, &status) != 0)
      throw Error(Cause::io, text(path, ": cannot be opened: ", std::strerror(errno)));
    bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t bytes() const { return bytes_; }

  /// Addresses of the structure count from here, and end before `end`.
  void set_extent(std::uint64_t base, std::uint64_t end) {
    base_ = base;
    end_ = end;
  }

  bool holds(std::uint64_t address, std::uint64_t size) const {
    return address <= end_ && size <= end_ - address;
  }

  std::string read(std::uint64_t address, std::uint64_t size, const char* what) const {
    if (!holds(address, size))
      fail(address, text(what, " of ", size, " bytes does not fit into the file"));
    std::string all(size, '\0');
    std::uint64_t done = 0;
    while (done < size) {
      const ssize_t got = pread(descriptor_, all.data() + done, size - done,
                                static_cast<off_t>(base_ + address + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error(Cause::io, text(path_, ": cannot be read: ", std::strerror(errno)));
      if (got == 0) fail(address, text(what, " is cut off"));
      done += static_cast<std::uint64_t>(got);
    }
    return all;
  }

  /// The byte of the file at an address.
  std::uint64_t in_file(std::uint64_t address) const { return base_ + address; }

  [[noreturn]] void fail(std::uint64_t address, const std::string& what) const {
    throw Error(Cause::data, text(path_, ": damaged near byte ", in_file(address), ": ", what,
                                  "; make or fetch it again"));
  }
  /// For what is in order and yet nothing that this program reads.
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Cause::data, text(path_, " ", what));
  }

 private:
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t bytes_ = 0;
  std::uint64_t base_ = 0;
  std::uint64_t end_ = 0;
};

/// Thrown for what is in order but not for this program. It stands for one message of an object:
/// the others are checked all the same, and the object is refused only when somebody asks for it.
struct Foreign {
  std::string what;
};

/// Whether bytes have been compared with a checksum of their own. What is then unknown is no
/// damage.
enum class Checksum { none, right };

// Without a checksum an unknown version is damage unless it is one of the next few.
constexpr std::uint64_t kVersionsToCome = 3;

/// Bytes of the file, decoded from the front; going past their end is damage.
class Cursor {
 public:
  Cursor(const File& file, std::uint64_t address, std::string_view bytes, const char* what,
         Checksum checksum = Checksum::none)
      : file_(&file), address_(address), bytes_(bytes), what_(what), checksum_(checksum) {}

  std::uint64_t number(std::size_t size) {
    const std::string_view digits = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(digits[i])} << (8 * i);
    return value;
  }
  std::uint64_t address() { return number(8); }
  std::string_view take(std::uint64_t size) {
    if (size > left()) fail("ends too early");
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  void skip(std::uint64_t size) { take(size); }
  /// A text that ends with a zero byte, padded to a multiple of `padding` bytes.
  void skip_name(std::size_t padding) {
    const std::size_t end = bytes_.find('\0', at_);
    if (end == std::string_view::npos) fail("has a name without an end");
    const std::size_t size = end + 1 - at_;
    skip((size + padding - 1) / padding * padding);
  }
  /// The next bytes as a cursor of their own.
  Cursor part(std::uint64_t size, const char* what) {
    const std::uint64_t begin = address_ + at_;
    return {*file_, begin, take(size), what, checksum_};
  }
  std::uint64_t left() const { return bytes_.size() - at_; }
  std::uint64_t position() const { return address_ + at_; }

  void expect(bool right, const char* what) const {
    if (!right) fail(what);
  }
  /// Versions of `what` that are read are `least` to `most`.
  ///
  /// Errors   Foreign where it is one of a newer library, damage where it is none.
  void expect_version(std::uint64_t version, std::uint64_t least, std::uint64_t most,
                      const char* what) const {
    if (least <= version && version <= most) return;
    if (checksum_ == Checksum::none && (version < least || version > most + kVersionsToCome))
      fail(text("is ", what, " of an unknown version"));
    newer(text("version ", version, " of ", what));
  }
  [[noreturn]] void newer(const std::string& what) const {
    throw Foreign{text("is laid out in a way that is newer than HDF5 1.10 reads: ", what,
                       " near byte ", file_->in_file(position()),
                       checksum_ == Checksum::none ? ", if it is not damaged there" : "",
                       "; write it again with h5py.File(NAME, 'w', libver=('earliest', 'v110')), "
                       "or convert the file by the newer library's h5repack --low=0 --high=2")};
  }
  [[noreturn]] void fail(const std::string& what) const {
    file_->fail(position(), text(what_, " ", what));
  }

 private:
  const File* file_;
  std::uint64_t address_;
  std::string_view bytes_;
  const char* what_;
  Checksum checksum_;
  std::size_t at_ = 0;
};

/// The checksum of HDF5's metadata: Bob Jenkins' lookup3, little-endian, beginning with 0.
std::uint32_t checksum_of(std::string_view bytes) {
  const auto word = [&bytes](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < std::min(at + 4, bytes.size()); ++i)
      value |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * (i - at));
    return value;
  };
  std::uint32_t a = 0xDEADBEEF + static_cast<std::uint32_t>(bytes.size());
  std::uint32_t b = a;
  std::uint32_t c = a;
  const auto mix = [](std::uint32_t& x, std::uint32_t& y, std::uint32_t& z, int bits) {
    x = (x - z) ^ std::rotl(z, bits);
    z += y;
  };
  const auto finish = [](std::uint32_t& x, std::uint32_t y, int bits) {
    x = (x ^ y) - std::rotl(y, bits);
  };
  std::size_t at = 0;
  for (; bytes.size() - at > 12; at += 12) {
    a += word(at);
    b += word(at + 4);
    c += word(at + 8);
    mix(a, b, c, 4);
    mix(b, c, a, 6);
    mix(c, a, b, 8);
    mix(a, b, c, 16);
    mix(b, c, a, 19);
    mix(c, a, b, 4);
  }
  if (bytes.empty()) return c;
  a += word(at);
  b += word(at + 4);
  c += word(at + 8);
  finish(c, b, 14);
  finish(a, c, 11);
  finish(b, a, 25);
  finish(c, b, 16);
  finish(a, c, 4);
  finish(b, a, 14);
  finish(c, b, 24);
  return c;
}

/// What is needed of a type to find strings of variable length in elements of it.
struct Type {
  std::uint64_t bytes = 0;
  bool is_variable_text = false;
  bool holds_variable = false;  // in itself or in a part
};

struct Shape {
  std::uint64_t elements = 1;
  int dimensions = 0;
};

struct Filter {
  std::uint64_t id = 0;
  std::uint64_t element_bytes = 0;  // of shuffle
};

constexpr std::uint64_t kDeflate = 1;
constexpr std::uint64_t kShuffle = 2;
constexpr std::uint64_t kFletcher32 = 3;

enum class Place { nowhere, compact, contiguous, chunked };

struct Layout {
  Place place = Place::nowhere;
  std::string compact;  // the elements themselves
  std::uint64_t address = kUndefined;
  std::uint64_t bytes = 0;  // contiguous
  bool has_bytes = false;   // contiguous; version 1 and 2 tell none
  std::uint64_t chunk_bytes = 0;
  int dimensions = 0;             // of chunks, the element's bytes among them
  bool is_tree = false;           // a version 1 B-tree has the chunks
  bool is_one = false;            // the address is that of the only chunk
  std::uint64_t one_bytes = 0;    // stored bytes of it, where filtered
  std::uint64_t one_skipped = 0;  // a bit for each filter that it did not pass
};

std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t all = 0;
  if (__builtin_mul_overflow(a, b, &all)) return std::nullopt;
  return all;
}

}  // namespace

struct Hdf5Structure::State {
 public:
  explicit State(const std::string& path) : file_(path) {}

  void check() {
    const std::optional<std::uint64_t> begin = find_superblock();
    if (begin && read_superblock(*begin)) follow();
  }

  /// Where the file was followed at all; objects that it came to then are done.
  void check(std::uint64_t object) {
    if (seen_objects_.empty()) return;
    objects_.push_back(object);
    follow();
  }

  const std::map<std::uint64_t, std::string>& obstacles() const { return obstacles_; }
  const std::string& path() const { return file_.path(); }
  bool awaits_chunks(std::uint64_t object) const { return unlisted_.count(object) > 0; }

  void check_text_chunk(std::uint64_t address, const std::string& stored, std::uint64_t skipped) {
    const Object& object = unlisted_.at(address);
    check_chunk_size(address, object, stored.size(), skipped);
    check_texts(object, stored, skipped, address);
  }

 private:
  void follow() {
    // Lists and not recursion: a damaged file may nest as deep as it is long.
    while (!objects_.empty() || !groups_.empty()) {
      if (groups_.empty()) {
        const std::uint64_t address = objects_.back();
        objects_.pop_back();
        check_object(address);
      } else {
        const auto [tree, heap] = groups_.back();
        groups_.pop_back();
        check_group(tree, heap);
      }
    }
    collections_.clear();
    chunks_.clear();
  }

  // --- Superblock ---

  std::optional<std::uint64_t> find_superblock() {
    file_.set_extent(0, file_.bytes());
    for (std::uint64_t at = 0; file_.holds(at, 8); at = at == 0 ? 512 : 2 * at) {
      if (file_.read(at, 8, "the signature") == "\x89HDF\r\n\x1a\n") return at;
    }
    return std::nullopt;
  }

  /// False where the file ends before its superblock says so.
  bool read_superblock(std::uint64_t begin) {
    const std::uint64_t most = std::min<std::uint64_t>(128, file_.bytes() - begin);
    const std::string bytes = file_.read(begin, most, "the superblock");
    Cursor c(file_, begin, bytes, "the superblock");
    c.skip(8);
    const std::uint64_t version = c.number(1);
    c.expect_version(version, 0, 3, "a superblock");
    std::uint64_t extension = kUndefined;
    std::uint64_t root = 0;
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t cached_tree = kUndefined;
    std::uint64_t cached_heap = kUndefined;
    if (version < 2) {
      c.skip(4);
      read_address_sizes(c);
      c.skip(1);
      leaf_k_ = c.number(2);
      internal_k_ = c.number(2);
      c.skip(4);
      if (version == 1) {
        chunk_k_ = c.number(2);
        c.skip(2);
      }
      c.expect(leaf_k_ > 0 && internal_k_ > 0 && chunk_k_ > 0, "has B-trees without room");
      base = c.address();
      c.skip(8);  // free space
      end = c.address();
      if (c.address() != kUndefined)
        file_.refuse("is one of several files that are one (a driver of HDF5): join them first");
      c.skip(8);
      root = c.address();
      const std::uint64_t cached = c.number(4);
      c.skip(4);
      c.expect(cached <= 1, "has a root of an unknown kind");
      if (cached == 1) {
        cached_tree = c.address();
        cached_heap = c.address();
      }
    } else {
      read_address_sizes(c);
      const std::uint64_t flags = c.number(1);
      base = c.address();
      extension = c.address();
      end = c.address();
      root = c.address();
      const std::uint64_t size = c.position() - begin;
      c.expect(c.number(4) == checksum_of(std::string_view(bytes).substr(0, size)),
               "has a checksum that does not fit");
      if (version == 3 && (flags & kOpenToWrite) != 0) {
        file_.refuse(
            "says that a program is writing to it; wait until that has closed it, or, if it died, "
            "look whether the file is complete and run h5clear -s on it");
      }
    }
    // The end counts from the file's beginning and all else from the superblock, wherever both have
    // been moved to.
    c.expect(base <= end, "ends before it begins");
    end -= base;
    if (end > file_.bytes() - begin) return false;
    file_.set_extent(begin, end);
    if (cached_tree != kUndefined) groups_.emplace_back(cached_tree, cached_heap);
    objects_.push_back(root);
    extension_ = extension;  // before all others, as it has the sizes of B-trees
    if (extension != kUndefined) objects_.push_back(extension);
    return true;
  }

  static constexpr std::uint64_t kOpenToWrite = 1 | 4;  // plainly, or for readers beside it

  void read_address_sizes(Cursor& c) const {
    const std::uint64_t address_bytes = c.number(1);
    const std::uint64_t length_bytes = c.number(1);
    const auto is_size = [](std::uint64_t bytes) {
      return std::has_single_bit(bytes) && bytes <= 32;
    };
    c.expect(is_size(address_bytes) && is_size(length_bytes), "has addresses of an unknown size");
    if (address_bytes != 8 || length_bytes != 8) {
      file_.refuse(text("keeps addresses in ", address_bytes, " bytes and lengths in ",
                        length_bytes,
                        ", where this program reads those of 8; write it again without "
                        "H5Pset_sizes"));
    }
  }

  // --- Objects ---

  /// What the messages of one object say together.
  struct Object {
    std::optional<Type> type;
    std::optional<Shape> shape;
    std::optional<Layout> layout;
    std::vector<Filter> filters;
    std::string obstacle;  // the first of its messages that is not for this program
  };

  void check_object(std::uint64_t address) {
    if (!seen_objects_.insert(address).second) return;
    Object object;
    types_followed_ = 0;
    is_extension_ = address == extension_;
    try {
      check_header(address, object);
      if (object.layout && object.obstacle.empty()) check_elements(address, object);
    } catch (const Foreign& foreign) {
      object.obstacle = foreign.what;
    }
    if (!object.obstacle.empty()) obstacles_.emplace(address, object.obstacle);
  }

  void check_header(std::uint64_t address, Object& object) {
    const std::string start = file_.read(address, 16, "an object header");
    if (start.starts_with("OHDR")) {
      check_new_header(address, object);
    } else {
      check_old_header(address, start, object);
    }
  }

  void check_old_header(std::uint64_t address, std::string_view start, Object& object) {
    Cursor c(file_, address, start, "an object header");
    c.expect_version(c.number(1), 1, 1, "an object header");
    c.skip(1);
    std::uint64_t messages = c.number(2);
    c.skip(4);
    const std::uint64_t first_bytes = c.number(4);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks = {{address + 16, first_bytes}};
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
        check_message(kind, flags, block.part(size, "a message of an object header"), blocks,
                      object);
      }
      block.expect(block.left() == 0, "has bytes left over");
    }
    c.expect(messages == 0, "has fewer messages than it tells");
  }

  void check_new_header(std::uint64_t address, Object& object) {
    const std::string start =
        file_.read(address, std::min<std::uint64_t>(64, end_after(address)), "an object header");
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
    std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks = {
        {address, first_head + std::min(first_bytes, kUndefined / 2) + kChecksumBytes}};
    std::set<std::uint64_t> begun;
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      if (!begun.insert(blocks[b].first).second) c.fail("goes on in one of its own blocks");
      const std::string whole = file_.read(blocks[b].first, blocks[b].second, "an object header");
      if (whole.size() < 8) c.fail("has a block that is too short");
      const std::string_view bytes =
          std::string_view(whole).substr(0, whole.size() - kChecksumBytes);
      Cursor sum(file_, blocks[b].first + bytes.size(),
                 std::string_view(whole).substr(bytes.size()), "an object header");
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
        check_message(kind, message_flags, block.part(size, "a message of an object header"),
                      blocks, object);
      }
    }
  }

  std::uint64_t end_after(std::uint64_t address) const {
    std::uint64_t size = 64;
    while (size > 1 && !file_.holds(address, size)) --size;
    return size;
  }

  void check_message(std::uint64_t kind, std::uint64_t flags, const Cursor& c,
                     std::vector<std::pair<std::uint64_t, std::uint64_t>>& blocks, Object& object) {
    try {
      follow_message(kind, flags, c, blocks, object);
    } catch (const Foreign& foreign) {
      // An attribute is refused by the library when it is asked for.
      if (kind != kAttribute && object.obstacle.empty()) object.obstacle = foreign.what;
    }
  }

  static constexpr std::uint64_t kAttribute = 0xC;
  static constexpr std::uint64_t kUnknownIsFailure = 0x80;

  void follow_message(std::uint64_t kind, std::uint64_t flags, Cursor c,
                      std::vector<std::pair<std::uint64_t, std::uint64_t>>& blocks,
                      Object& object) {
    if ((flags & 2) != 0) {  // The message is elsewhere.
      const std::uint64_t target = shared_address(c);
      if (kind == 0x3) object.type = type_of_object(target);
      objects_.push_back(target);
      return;
    }
    switch (kind) {
      case 0x1:
        object.shape = read_shape(c);
        break;
      case 0x3:
        object.type = read_type(c, 0);
        break;
      case 0x6:
        check_link(c);
        break;
      case 0x7:
        read_other_files(c);
      case 0x8:
        object.layout = read_layout(c);
        break;
      case 0x4:
        c.skip(c.number(4));
        break;
      case 0x5:
        check_fill(c);
        break;
      case 0xB:
        object.filters = read_filters(c);
        break;
      case kAttribute:
        check_attribute(c);
        break;
      case 0x10: {
        const std::uint64_t address = c.address();
        blocks.emplace_back(address, c.number(8));
        break;
      }
      case 0x11: {
        const std::uint64_t tree = c.address();
        groups_.emplace_back(tree, c.address());
        break;
      }
      case 0x13:
        if (!is_extension_) break;
        c.expect_version(c.number(1), 0, 0, "the sizes of B-trees");
        chunk_k_ = c.number(2);
        internal_k_ = c.number(2);
        leaf_k_ = c.number(2);
        c.expect(leaf_k_ > 0 && internal_k_ > 0 && chunk_k_ > 0, "has B-trees without room");
        break;
      case 0x2:  // how the links of a group are kept
        check_heap_and_trees(c, 8);
        break;
      case 0x15:  // how attributes are kept
        check_heap_and_trees(c, 2);
        break;
      default:
        if (kind > kLastKind && (flags & kUnknownIsFailure) != 0)
          c.newer(text("a message of kind ", kind));
        break;
    }
  }

  static constexpr std::uint64_t kLastKind = 0x17;

  /// Where a heap and its B-trees begin; what they hold is under checksums that the library
  /// compares.
  void check_heap_and_trees(Cursor& c, std::size_t order_bytes) const {
    c.expect_version(c.number(1), 0, 0, "what tells how links or attributes are kept");
    const std::uint64_t flags = c.number(1);
    if ((flags & 1) != 0) c.skip(order_bytes);
    expect_at(c.address(), "FRHP", c);
    expect_at(c.address(), "BTHD", c);
    if ((flags & 2) != 0) expect_at(c.address(), "BTHD", c);
  }

  void expect_at(std::uint64_t address, const char* signature, const Cursor& c) const {
    constexpr std::uint64_t kLeastBytes = 28;  // of a header that begins so, with its checksum
    if (address == kUndefined) return;
    c.expect(
        file_.holds(address, kLeastBytes) && file_.read(address, 4, "a signature") == signature,
        "leads to something else than it says");
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

  /// The type that a committed type's object holds.
  Type type_of_object(std::uint64_t address) {
    Object object;
    if (types_followed_ >= kDeepestType) file_.fail(address, "types refer to each other");
    const std::uint64_t text_bytes = text_bytes_;  // counted when the object itself is checked
    ++types_followed_;
    check_header(address, object);  // throws Foreign only before there is a message
    --types_followed_;
    text_bytes_ = text_bytes;
    if (!object.obstacle.empty()) throw Foreign{object.obstacle};
    if (!object.type) file_.fail(address, "a type is expected here");
    return *object.type;
  }

  void check_link(Cursor c) {
    c.expect_version(c.number(1), 1, 1, "a link");
    const std::uint64_t flags = c.number(1);
    const std::uint64_t kind = (flags & 8) != 0 ? c.number(1) : 0;
    if ((flags & 4) != 0) c.skip(8);
    if ((flags & 16) != 0) c.skip(1);
    const std::uint64_t name_bytes = c.number(std::size_t{1} << (flags & 3));
    c.expect(name_bytes > 0, "is a link without a name");
    c.expect(is_printable(c.take(name_bytes)), "is a link whose name is no printable UTF-8");
    if (kind == 0) {
      objects_.push_back(c.address());
    } else {
      c.skip(c.number(2));
    }
  }

  static void check_fill(Cursor c) {
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

  void check_attribute(Cursor c) {
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
      objects_.push_back(target);
    } else {
      type = read_type(type_part, 0);
    }
    Cursor shape_part = c.part(padded(shape_bytes), "the shape of an attribute");
    c.expect(version == 1 || (flags & 2) == 0, "is an attribute whose shape is elsewhere");
    const Shape shape = read_shape(shape_part);
    const std::optional<std::uint64_t> bytes = product(shape.elements, type.bytes);
    c.expect(bytes && *bytes <= c.left(), "is an attribute that is longer than its header");
    const std::uint64_t begin = c.position();
    check_references(type, c.take(*bytes), begin);
  }

  // --- Types and shapes ---

  static Shape read_shape(Cursor& c) {
    Shape shape;
    const std::uint64_t version = c.number(1);
    c.expect_version(version, 1, 2, "a shape");
    shape.dimensions = static_cast<int>(c.number(1));
    const std::uint64_t flags = c.number(1);
    const std::uint64_t kind = c.number(1);
    if (version == 1) c.skip(4);
    c.expect(shape.dimensions <= kMostDimensions, "is a shape of too many dimensions");
    if (version == 2 && kind == 2) shape.elements = 0;
    for (int i = 0; i < shape.dimensions; ++i) {
      const std::optional<std::uint64_t> all = product(shape.elements, c.number(8));
      c.expect(all && *all <= std::numeric_limits<std::int64_t>::max(),
               "is a shape of too many elements");
      shape.elements = *all;
    }
    if ((flags & 1) != 0) c.skip(std::uint64_t{8} * static_cast<unsigned>(shape.dimensions));
    return shape;
  }

  Type read_type(Cursor& c, int depth) {
    c.expect(depth <= kDeepestType, "is a type of types without end");
    const std::uint64_t head = c.number(1);
    const std::uint64_t version = head >> 4;
    const std::uint64_t flags = c.number(3);
    Type type;
    type.bytes = c.number(4);
    c.expect(type.bytes > 0, "is a type of no bytes");
    c.expect_version(version, 1, 3, "a type");
    const std::uint64_t bits = 8 * type.bytes;
    const std::size_t padding = version < 3 ? 8 : 1;
    switch (head & 0xF) {
      case 0:    // integer
      case 4: {  // bits
        const std::uint64_t offset = c.number(2);
        const std::uint64_t precision = c.number(2);
        c.expect(precision > 0 && offset + precision <= bits, "is an integer of wrong bits");
        break;
      }
      case 1: {  // float
        const std::uint64_t offset = c.number(2);
        const std::uint64_t precision = c.number(2);
        const std::uint64_t exponent = c.number(1);
        const std::uint64_t exponent_bits = c.number(1);
        const std::uint64_t mantissa = c.number(1);
        const std::uint64_t mantissa_bits = c.number(1);
        c.skip(4);
        const std::uint64_t sign = (flags >> 8) & 0xFF;
        c.expect(precision > 0 && offset + precision <= bits && sign < precision &&
                     exponent_bits > 0 && mantissa_bits > 0 &&
                     exponent + exponent_bits <= precision &&
                     mantissa + mantissa_bits <= precision &&
                     (exponent + exponent_bits <= mantissa || mantissa + mantissa_bits <= exponent),
                 "is a float of wrong bits");
        break;
      }
      case 2:  // time
        c.skip(2);
        break;
      case 3:  // text of a fixed width
        c.expect((flags & 0xF) <= 2 && ((flags >> 4) & 0xF) <= 1, "is a text of an unknown kind");
        break;
      case 5:  // opaque
        c.skip(flags & 0xFF);
        break;
      case 6:  // compound
        read_members(c, depth, version, flags & 0xFFFF, type);
        break;
      case 7:  // reference
        c.expect((flags & 0xF) <= 1, "is a reference of an unknown kind");
        break;
      case 8: {  // enumeration
        const Type base = read_type(c, depth + 1);
        const std::uint64_t members = flags & 0xFFFF;
        c.expect(members > 0 && base.bytes == type.bytes, "is an enumeration of nothing");
        for (std::uint64_t i = 0; i < members; ++i) c.skip_name(padding);
        c.skip(members * base.bytes);
        break;
      }
      case 9: {  // variable length
        const Type base = read_type(c, depth + 1);
        const bool is_text = (flags & 0xF) == 1;
        c.expect((flags & 0xF) <= 1 && type.bytes == kReferenceBytes && !base.holds_variable &&
                     (!is_text || base.bytes == 1),
                 "is of variable length in an unknown way");
        type.is_variable_text = is_text;
        type.holds_variable = true;
        break;
      }
      case 10: {  // array
        c.expect(version >= 2, "is an array of an old version");
        const std::uint64_t dimensions = c.number(1);
        c.expect(dimensions > 0 && dimensions <= kMostDimensions, "is an array of no shape");
        if (version == 2) c.skip(3);
        std::uint64_t elements = 1;
        for (std::uint64_t i = 0; i < dimensions; ++i) {
          const std::optional<std::uint64_t> all = product(elements, c.number(4));
          c.expect(all && *all > 0 && *all <= type.bytes, "is an array of a wrong size");
          elements = *all;
        }
        if (version == 2) c.skip(4 * dimensions);
        const Type base = read_type(c, depth + 1);
        c.expect(product(elements, base.bytes) == type.bytes, "is an array of a wrong size");
        type.holds_variable = base.holds_variable;
        break;
      }
      default:
        c.fail("is a type of an unknown class");
    }
    return type;
  }

  void read_members(Cursor& c, int depth, std::uint64_t version, std::uint64_t members,
                    Type& type) {
    c.expect(members > 0, "is a compound of nothing");
    std::size_t offset_bytes = 4;
    if (version == 3) {
      offset_bytes = 1;
      while (offset_bytes < 4 && (type.bytes >> (8 * offset_bytes)) > 0) ++offset_bytes;
    }
    for (std::uint64_t i = 0; i < members; ++i) {
      c.skip_name(version < 3 ? 8 : 1);
      const std::uint64_t offset = c.number(offset_bytes);
      if (version == 1) {
        c.expect(c.number(1) == 0, "is a compound with arrays of an old version");
        c.skip(3 + 4 + 4 + 16);
      }
      const Type member = read_type(c, depth + 1);
      c.expect(offset <= type.bytes && member.bytes <= type.bytes - offset,
               "is a compound that is smaller than its parts");
      type.holds_variable |= member.holds_variable;
    }
  }

  // --- Elements ---

  Layout read_layout(Cursor& c) {
    Layout layout;
    const std::uint64_t version = c.number(1);
    c.expect_version(version, 1, 4, "a layout");
    if (version < 3) {
      const std::uint64_t dimensions = c.number(1);
      const std::uint64_t kind = c.number(1);
      c.skip(5);
      c.expect(dimensions <= kMostDimensions + 1 && kind <= 2, "is a layout of an unknown kind");
      layout.place = static_cast<Place>(kind + 1);
      if (layout.place != Place::compact) layout.address = c.address();
      read_chunk_dimensions(c, layout, dimensions, 4);
      if (layout.place == Place::compact) layout.compact = c.take(c.number(4));
      layout.is_tree = true;
      return layout;
    }
    const std::uint64_t kind = c.number(1);
    if (kind == 3 && version == 4) {
      const std::uint64_t collection = c.address();
      const std::string source = first_virtual_source(collection, c.number(4));
      throw Foreign{text("is a virtual dataset: its elements are in other datasets",
                         source.empty() ? "" : ", the first in " + source,
                         ", which this program does not follow; ", kPutDataThere)};
    }
    c.expect(kind <= 2, "is a layout of an unknown kind");
    layout.place = static_cast<Place>(kind + 1);
    if (layout.place == Place::compact) {
      layout.compact = c.take(c.number(2));
    } else if (layout.place == Place::contiguous) {
      layout.address = c.address();
      layout.bytes = c.number(8);
      layout.has_bytes = true;
    } else if (version == 3) {
      const std::uint64_t dimensions = c.number(1);
      layout.address = c.address();
      layout.is_tree = true;
      read_chunk_dimensions(c, layout, dimensions, 4);
    } else {
      const std::uint64_t flags = c.number(1);
      const std::uint64_t dimensions = c.number(1);
      const std::uint64_t size_bytes = c.number(1);
      c.expect(size_bytes >= 1 && size_bytes <= 8, "is a layout of chunks of an unknown kind");
      read_chunk_dimensions(c, layout, dimensions, size_bytes);
      const std::uint64_t index = c.number(1);
      if (index == 1) {
        layout.is_one = true;
        if ((flags & 2) != 0) {
          layout.one_bytes = c.number(8);
          layout.one_skipped = c.number(4);
        }
      } else if (index > 5) {
        c.newer(text("an index of chunks of kind ", index));
      } else if (index == 3) {
        c.skip(1);
      } else if (index == 4) {
        c.skip(5);
      } else if (index == 5) {
        c.skip(6);
      }
      layout.address = c.address();
      if (index >= 3)
        expect_at(layout.address, index == 3 ? "FAHD" : index == 4 ? "EAHD" : "BTHD", c);
      if (index == 2 && layout.address != kUndefined) {
        c.expect(file_.holds(layout.address, layout.chunk_bytes), "leads out of the file");
      }
    }
    return layout;
  }

  static void read_chunk_dimensions(Cursor& c, Layout& layout, std::uint64_t dimensions,
                                    std::size_t size_bytes) {
    c.expect(dimensions <= kMostDimensions + 1, "is a layout of too many dimensions");
    layout.dimensions = static_cast<int>(dimensions);
    std::uint64_t all = 1;
    for (std::uint64_t i = 0; i < dimensions; ++i) {
      const std::uint64_t size = c.number(size_bytes);
      const std::optional<std::uint64_t> bytes = product(all, size);
      c.expect(bytes && (layout.place != Place::chunked ||
                         (*bytes > 0 && *bytes <= std::numeric_limits<std::uint32_t>::max())),
               "is a layout of chunks of a wrong size");
      all = *bytes;
    }
    layout.chunk_bytes = all;
  }

  static std::vector<Filter> read_filters(Cursor c) {
    const std::uint64_t version = c.number(1);
    c.expect_version(version, 1, 2, "a list of filters");
    const std::uint64_t count = c.number(1);
    c.expect(count <= 32, "is a list of too many filters");
    if (version == 1) c.skip(6);
    std::vector<Filter> filters(count);
    for (Filter& filter : filters) {
      filter.id = c.number(2);
      const std::uint64_t name_bytes = version == 1 || filter.id >= 256 ? c.number(2) : 0;
      c.skip(2);
      const std::uint64_t values = c.number(2);
      c.skip(version == 1 ? (name_bytes + 7) / 8 * 8 : name_bytes);
      for (std::uint64_t i = 0; i < values; ++i) {
        const std::uint64_t value = c.number(4);
        if (filter.id == kShuffle && i == 0) filter.element_bytes = value;
      }
      if (version == 1 && values % 2 == 1) c.skip(4);
    }
    return filters;
  }

  void check_elements(std::uint64_t address, const Object& object) {
    if (!object.type || !object.shape) file_.fail(address, "elements without a type or a shape");
    const Layout& layout = *object.layout;
    const std::optional<std::uint64_t> bytes = product(object.shape->elements, object.type->bytes);
    if (!bytes) file_.fail(address, "more elements than there can be");
    const bool has_references = object.type->holds_variable && *bytes > 0;
    if (layout.place == Place::compact) {
      if (layout.compact.size() < *bytes) file_.fail(address, "fewer elements than its shape has");
      check_references(*object.type, std::string_view(layout.compact).substr(0, *bytes), address);
    } else if (layout.place == Place::contiguous && layout.address != kUndefined) {
      if (!file_.holds(layout.address, *bytes) || (layout.has_bytes && layout.bytes < *bytes))
        file_.fail(address, "elements of more bytes than the file holds");
      if (has_references) check_reference_block(*object.type, layout.address, *bytes);
    } else if (layout.place == Place::chunked && layout.address != kUndefined) {
      check_chunks(address, object, has_references);
    }
  }

  /// Where a chunk lies, its bytes there, and a bit for each filter that it did not pass.
  struct Chunk {
    std::uint64_t at;
    std::uint64_t stored;
    std::uint64_t skipped;
  };

  void check_chunks(std::uint64_t address, const Object& object, bool has_references) {
    const Layout& layout = *object.layout;
    if (layout.dimensions != object.shape->dimensions + 1 || layout.chunk_bytes == 0 ||
        layout.chunk_bytes % object.type->bytes != 0)
      file_.fail(address, "chunks that are not of the shape of their elements");
    if (has_references && layout.chunk_bytes > kMostTextChunkBytes)
      file_.fail(address, "chunks of strings that are too large");
    bool is_size_known = false;
    if (layout.is_tree) {
      std::set<std::uint64_t> seen;
      check_chunk_tree(
          layout, layout.address, std::nullopt,
          [&](const Chunk& chunk) { check_chunk(address, object, chunk, is_size_known); }, seen);
    } else if (layout.is_one) {
      check_chunk(address, object,
                  {layout.address, layout.one_bytes > 0 ? layout.one_bytes : layout.chunk_bytes,
                   layout.one_skipped},
                  is_size_known);
    } else if (has_references && object.type->is_variable_text) {
      unlisted_.emplace(address, object);
    }
  }

  /// The library trusts that what its filters give back is as large as the shape of a chunk says.
  /// One chunk of a dataset shows it, where `is_size_known` is not yet set.
  void check_chunk(std::uint64_t address, const Object& object, const Chunk& chunk,
                   bool& is_size_known) {
    if (!file_.holds(chunk.at, chunk.stored) || chunk.stored == 0)
      file_.fail(address, "a chunk that is not in the file");
    if (!chunks_.insert(chunk.at).second) file_.fail(address, "a chunk that comes twice");
    const bool is_deflated = check_chunk_size(address, object, chunk.stored, chunk.skipped);
    const bool has_references = object.type->holds_variable;
    if (!has_references && (!is_deflated || is_size_known)) return;
    const std::string stored = file_.read(chunk.at, chunk.stored, "a chunk");
    if (has_references) return check_texts(object, stored, chunk.skipped, chunk.at);
    // The library says what cannot be uncompressed, and its rows.
    is_size_known =
        unfiltered(stored, object.filters, chunk.skipped, *object.layout, chunk.at).has_value();
  }

  /// Whether only uncompressing it tells how large a chunk is.
  bool check_chunk_size(std::uint64_t address, const Object& object, std::uint64_t stored,
                        std::uint64_t skipped) const {
    const std::uint64_t bytes = object.layout->chunk_bytes;
    const std::optional<std::uint64_t> expected = stored_bytes(bytes, object.filters, skipped);
    if (expected && stored != *expected)
      file_.fail(address, "a chunk of another size than its shape");
    const bool is_deflated = !expected && are_known(object.filters);
    if (is_deflated && bytes / kMostDeflation > stored)
      file_.fail(address, "a chunk that is larger than its bytes can be");
    return is_deflated;
  }

  void check_texts(const Object& object, const std::string& stored, std::uint64_t skipped,
                   std::uint64_t at) {
    const std::optional<std::string> elements =
        unfiltered(stored, object.filters, skipped, *object.layout, at);
    if (!elements) file_.fail(at, "a chunk that cannot be uncompressed");
    check_references(*object.type, *elements, at);
  }

  template <typename CheckChunk>
  void check_chunk_tree(const Layout& layout, std::uint64_t address,
                        std::optional<std::uint64_t> expected_level, const CheckChunk& check_chunk,
                        std::set<std::uint64_t>& seen) {
    if (!seen.insert(address).second) file_.fail(address, "a B-tree that contains itself");
    const std::uint64_t key_bytes = 8 + 8 * static_cast<unsigned>(layout.dimensions);
    const std::uint64_t node_bytes = 24 + 2 * chunk_k_ * (8 + key_bytes) + key_bytes;
    const std::string bytes = file_.read(address, node_bytes, "a B-tree of chunks");
    Cursor c(file_, address, bytes, "a B-tree of chunks");
    const auto [level, entries] = read_node_head(c, 1, 2 * chunk_k_, expected_level);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t stored = c.number(4);
      const std::uint64_t skipped = c.number(4);
      c.skip(8 * static_cast<unsigned>(layout.dimensions));
      const std::uint64_t child = c.address();
      if (level == 0) {
        check_chunk({child, stored, skipped});
      } else {
        check_chunk_tree(layout, child, level - 1, check_chunk, seen);
      }
    }
  }

  struct NodeHead {
    std::uint64_t level;
    std::uint64_t entries;
  };
  static NodeHead read_node_head(Cursor& c, std::uint64_t kind, std::uint64_t most_entries,
                                 std::optional<std::uint64_t> expected_level) {
    c.expect(c.take(4) == "TREE" && c.number(1) == kind, "has another signature");
    const std::uint64_t level = c.number(1);
    const std::uint64_t entries = c.number(2);
    c.expect(level <= kDeepestTree && (!expected_level || level == *expected_level),
             "is of a wrong level");
    c.expect(entries <= most_entries, "has too many entries");
    c.skip(16);  // siblings
    return {level, entries};
  }

  /// Bytes in the file of a chunk of so many, where its filters leave no choice.
  static std::optional<std::uint64_t> stored_bytes(std::uint64_t chunk_bytes,
                                                   const std::vector<Filter>& filters,
                                                   std::uint64_t skipped) {
    std::uint64_t bytes = chunk_bytes;
    for (std::size_t f = 0; f < filters.size(); ++f) {
      if (is_skipped(f, skipped) || filters[f].id == kShuffle) continue;
      if (filters[f].id != kFletcher32) return std::nullopt;
      bytes += 4;
    }
    return bytes;
  }

  static bool are_known(const std::vector<Filter>& filters) {
    return std::all_of(filters.begin(), filters.end(), [](const Filter& filter) {
      return filter.id == kDeflate || filter.id == kShuffle || filter.id == kFletcher32;
    });
  }

  static bool is_skipped(std::size_t filter, std::uint64_t skipped) {
    return filter < 32 && ((skipped >> filter) & 1) != 0;
  }

  /// A chunk as it was before its filters; nothing where it cannot be uncompressed.
  std::optional<std::string> unfiltered(std::string bytes, const std::vector<Filter>& filters,
                                        std::uint64_t skipped, const Layout& layout,
                                        std::uint64_t at) const {
    for (std::size_t f = filters.size(); f-- > 0;) {
      if (is_skipped(f, skipped)) continue;
      const Filter& filter = filters[f];
      if (filter.id == kFletcher32) {
        if (bytes.size() < 4) file_.fail(at, "a chunk that is shorter than its checksum");
        bytes.resize(bytes.size() - 4);
      } else if (filter.id == kDeflate) {
        std::string all(layout.chunk_bytes + 4, '\0');  // and a checksum behind it
        uLongf size = all.size();
        const int code = uncompress(reinterpret_cast<Bytef*>(all.data()), &size,
                                    reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
        if (code == Z_DATA_ERROR) return std::nullopt;
        if (code != Z_OK) file_.fail(at, "a chunk of a wrong size");
        all.resize(size);
        bytes = std::move(all);
      } else if (filter.id == kShuffle) {
        bytes = unshuffled(bytes, filter.element_bytes);
      } else {
        throw Foreign{text("has strings of variable length behind the filter ", filter.id,
                           ", which this program does not check; write it again with gzip or "
                           "without compression")};
      }
    }
    if (bytes.size() != layout.chunk_bytes) file_.fail(at, "a chunk of a wrong size");
    return bytes;
  }

  static std::string unshuffled(const std::string& bytes, std::uint64_t element_bytes) {
    if (element_bytes <= 1) return bytes;
    const std::size_t count = bytes.size() / element_bytes;
    std::string out = bytes;  // What is left over at the end stays where it is.
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t b = 0; b < element_bytes; ++b)
        out[i * element_bytes + b] = bytes[b * count + i];
    }
    return out;
  }

  // --- Strings of variable length ---

  static constexpr std::uint64_t kReferenceBytes = 16;
  static constexpr std::uint64_t kReferencesAtOnce = 65536;

  void check_reference_block(const Type& type, std::uint64_t address, std::uint64_t bytes) {
    const std::uint64_t step = kReferencesAtOnce * type.bytes;
    for (std::uint64_t done = 0; done < bytes; done += step) {
      const std::uint64_t size = std::min(step, bytes - done);
      check_references(type, file_.read(address + done, size, "strings"), address + done);
    }
  }

  /// Elements that refer to the global heap, where they are texts: others are never read.
  void check_references(const Type& type, std::string_view elements, std::uint64_t address) {
    if (!type.is_variable_text) return;
    Cursor c(file_, address, elements, "a string of variable length");
    while (c.left() >= kReferenceBytes) {
      const std::uint64_t length = c.number(4);
      const std::uint64_t collection = c.address();
      const std::uint64_t index = c.number(4);
      if (collection == 0) continue;  // an empty string
      const std::vector<std::uint64_t>& objects = collection_at(collection);
      c.expect(index < objects.size() && objects[index] != kUndefined, "refers to nothing");
      c.expect(length == objects[index], "is of another length than what it refers to");
      text_bytes_ += length;
      // Written once each, so that all of them are in the file.
      c.expect(text_bytes_ <= file_.bytes(), "is one of more than the file holds");
    }
  }

  /// FILE:DATASET of the first source of a virtual dataset, whose list is an object of the global
  /// heap; "" where it cannot be told.
  std::string first_virtual_source(std::uint64_t collection, std::uint64_t index) {
    const std::vector<std::uint64_t>& objects = collection_at(collection);
    if (index >= objects.size() || objects[index] == kUndefined) return "";
    const std::string size = file_.read(collection, 16, "a global heap");
    Cursor head(file_, collection, size, "a global heap");
    head.skip(8);
    const std::string whole = file_.read(collection, head.number(8), "a global heap");
    Cursor o(file_, collection, whole, "a global heap");
    o.skip(16);
    while (o.left() >= 16) {
      const std::uint64_t number = o.number(2);
      o.skip(6);
      const std::uint64_t bytes = o.number(8);
      if (number != index) {
        o.skip(number == 0 ? bytes - 16 : (bytes + 7) / 8 * 8);
        continue;
      }
      Cursor sources = o.part(bytes, "a list of sources");
      if (bytes < 10 || sources.number(1) != 0 || sources.number(8) == 0) return "";
      const std::string_view names = sources.take(sources.left());
      const std::size_t end = names.find('\0');
      const std::size_t second = names.find('\0', end + 1);
      if (end == std::string_view::npos || second == std::string_view::npos) return "";
      const std::string_view file = names.substr(0, end);
      return text(excerpt(file == "." ? "this file" : file), ":",
                  excerpt(names.substr(end + 1, second - end - 1)));
    }
    return "";
  }

  /// The list of files that have the elements of a dataset.
  [[noreturn]] void read_other_files(Cursor& c) {
    c.expect_version(c.number(1), 1, 1, "a list of other files");
    c.skip(3 + 2);
    const std::uint64_t files = c.number(2);
    const std::string names = read_local_heap(c.address());
    std::string first;
    if (files > 0) {
      const std::uint64_t offset = c.number(8);
      check_name(c, offset, names);
      first = names.c_str() + offset;
    }
    throw Foreign{text("has its elements in other files",
                       first.empty() ? "" : ", the first of them " + excerpt(first),
                       ", which this program does not follow; ", kPutDataThere)};
  }

  /// Bytes of each object in a collection of the global heap, by its number; kUndefined: no object.
  const std::vector<std::uint64_t>& collection_at(std::uint64_t address) {
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
    std::vector<std::uint64_t> objects;
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
      if (index >= objects.size()) objects.resize(index + 1, kUndefined);
      o.expect(objects[index] == kUndefined, "has two objects of one number");
      objects[index] = bytes;
      o.skip((bytes + 7) / 8 * 8);
    }
    return collections_.emplace(address, std::move(objects)).first->second;
  }

  // --- Groups ---

  void check_group(std::uint64_t tree, std::uint64_t heap) {
    if (!seen_groups_.emplace(tree, heap).second) return;
    const std::string names = read_local_heap(heap);
    std::set<std::uint64_t> seen;
    check_group_tree(tree, std::nullopt, names, seen);
  }

  std::string read_local_heap(std::uint64_t address) {
    const std::string head = file_.read(address, 32, "a heap of names");
    Cursor c(file_, address, head, "a heap of names");
    c.expect(c.take(4) == "HEAP" && c.number(1) == 0, "has another signature");
    c.skip(3);
    const std::uint64_t size = c.number(8);
    std::uint64_t free = c.number(8);
    const std::uint64_t data = c.address();
    std::string names = file_.read(data, size, "a heap of names");
    std::uint64_t free_bytes = 0;
    while (free != kUndefined && free != 1) {  // 1 is how the library writes an empty list
      c.expect(free <= size && size - free >= 16, "has a free part outside of it");
      Cursor part(file_, data + free, std::string_view(names).substr(free, 16), "a heap of names");
      const std::uint64_t next = part.number(8);
      const std::uint64_t bytes = part.number(8);
      c.expect(bytes >= 16 && bytes <= size - free, "has a free part of a wrong size");
      free_bytes += bytes;
      c.expect(free_bytes <= size, "has free parts that contain each other");
      free = next;
    }
    return names;
  }

  void check_group_tree(std::uint64_t address, std::optional<std::uint64_t> expected_level,
                        const std::string& names, std::set<std::uint64_t>& seen) {
    if (!seen.insert(address).second) file_.fail(address, "a B-tree that contains itself");
    const std::uint64_t node_bytes = 24 + 2 * internal_k_ * 16 + 8;
    const std::string bytes = file_.read(address, node_bytes, "a B-tree of names");
    Cursor c(file_, address, bytes, "a B-tree of names");
    const auto [level, entries] = read_node_head(c, 0, 2 * internal_k_, expected_level);
    check_name(c, c.number(8), names);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t child = c.address();
      check_name(c, c.number(8), names);
      if (level == 0) {
        check_symbols(child, names, seen);
      } else {
        check_group_tree(child, level - 1, names, seen);
      }
    }
  }

  static void check_name(const Cursor& c, std::uint64_t offset, const std::string& names) {
    const std::size_t end = offset < names.size() ? names.find('\0', offset) : std::string::npos;
    c.expect(end != std::string::npos, "has a name outside of its heap");
    c.expect(is_printable(std::string_view(names).substr(offset, end - offset)),
             "has a name that is no printable UTF-8");
  }

  void check_symbols(std::uint64_t address, const std::string& names,
                     std::set<std::uint64_t>& seen) {
    if (!seen.insert(address).second) file_.fail(address, "a list of names that comes twice");
    const std::string bytes = file_.read(address, 8 + 2 * leaf_k_ * 40, "a list of names");
    Cursor c(file_, address, bytes, "a list of names");
    c.expect(c.take(4) == "SNOD" && c.number(1) == 1, "has another signature");
    c.skip(1);
    const std::uint64_t entries = c.number(2);
    c.expect(entries <= 2 * leaf_k_, "has too many entries");
    for (std::uint64_t i = 0; i < entries; ++i) {
      check_name(c, c.number(8), names);
      const std::uint64_t object = c.address();
      const std::uint64_t cached = c.number(4);
      c.skip(4);
      Cursor scratch = c.part(16, "a list of names");
      c.expect(cached <= 2, "has an entry of an unknown kind");
      if (cached == 2) {
        check_name(c, scratch.number(4), names);  // of a soft link
        continue;
      }
      if (cached == 1) {
        const std::uint64_t tree = scratch.address();
        groups_.emplace_back(tree, scratch.address());
      }
      objects_.push_back(object);
    }
  }

  File file_;
  std::uint64_t extension_ = kUndefined;  // of the superblock
  bool is_extension_ = false;             // the object that is followed
  std::uint64_t leaf_k_ = 4;
  std::uint64_t internal_k_ = 16;
  std::uint64_t chunk_k_ = 32;
  // Still to be checked: objects, and groups as the addresses of B-tree and heap.
  std::vector<std::uint64_t> objects_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> groups_;
  std::set<std::uint64_t> seen_objects_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen_groups_;
  std::map<std::uint64_t, std::string> obstacles_;  // by the address of the object
  // Datasets of texts whose chunks are in an index that the library reads, by address.
  std::map<std::uint64_t, Object> unlisted_;
  std::set<std::uint64_t> chunks_;  // addresses
  std::map<std::uint64_t, std::vector<std::uint64_t>> collections_;
  std::uint64_t text_bytes_ = 0;
  int types_followed_ = 0;
};

Hdf5Structure::Hdf5Structure(const std::string& path) : state_(std::make_unique<State>(path)) {
  try {
    state_->check();
  } catch (const Foreign& foreign) {  // of the superblock
    throw Error(Cause::data, text(path, " ", foreign.what));
  }
}

Hdf5Structure::~Hdf5Structure() = default;

void Hdf5Structure::check(std::uint64_t object) { state_->check(object); }

std::string Hdf5Structure::obstacle(std::uint64_t object) const {
  const auto found = state_->obstacles().find(object);
  return found == state_->obstacles().end() ? "" : found->second;
}

std::string Hdf5Structure::first_obstacle() const {
  return state_->obstacles().empty() ? "" : state_->obstacles().begin()->second;
}

bool Hdf5Structure::awaits_chunks(std::uint64_t object) const {
  return state_->awaits_chunks(object);
}

void Hdf5Structure::check_text_chunk(std::uint64_t object, const std::string& stored,
                                     std::uint32_t skipped_filters) try {
  state_->check_text_chunk(object, stored, skipped_filters);
} catch (const Foreign& foreign) {
  throw Error(Cause::data, text(state_->path(), " ", foreign.what));
}

}  // namespace micrec
