#include "io/hdf5.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <hdf5.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/hdf5_structure/hdf5_structure.h"
#include "io/paths.h"

namespace micrec {
namespace {

constexpr std::int64_t kChunkBytes = 256 * 1024;
constexpr std::int64_t kMostChunkBytes = std::int64_t{1} << 30;
constexpr std::int64_t kMostAttributeValues = 8192;
// Deflate shrinks at most 1032 times, so a compressed dataset cannot be larger than this many
// files.
constexpr std::int64_t kMostCompression = 1032;
// Fixed-width strings may take this much more than their characters before variable length is used.
constexpr std::size_t kMostPadding = 2;
constexpr int kMostSoftLinks = 16;  // on the way to one object
// Strings are converted in blocks of this many, so that memory beside the result stays small.
constexpr std::int64_t kTextBlock = 16 * 1024;

// Since 1.10.7, but for 1.12.0; others know the environment variable alone.
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
#define MICREC_HDF5_HAS_FILE_LOCKING
#endif

std::mutex& library_mutex() {
#ifndef MICREC_HDF5_HAS_FILE_LOCKING
  static const int no_locks = ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", /*overwrite=*/1);
  static_cast<void>(no_locks);
#endif
  // Before the library's first call: its own clean-up at exit crashes on a file that could not be
  // closed because the disk was full, and the crash would hide the exit code. Every file is closed
  // by its owner.
  static const herr_t no_clean_up = H5dont_atexit();
  static_cast<void>(no_clean_up);
  static std::mutex mutex;
  return mutex;
}

using Lock = std::lock_guard<std::mutex>;

/// An HDF5 identifier and the function that gives it back.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*release)(hid_t)) : id_(id), release_(release) {}
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), release_(other.release_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) release_(id_);
  }
  hid_t id() const { return id_; }
  bool ok() const { return id_ >= 0; }
  hid_t give_up() { return std::exchange(id_, H5I_INVALID_HID); }

 private:
  hid_t id_ = H5I_INVALID_HID;
  herr_t (*release_)(hid_t) = nullptr;
};

/// The innermost message of HDF5's error stack: the cause; the outer ones only repeat who called
/// whom.
std::string library_message() {
  std::string message;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        if (error->desc == nullptr || *error->desc == '\0') return 0;
        *static_cast<std::string*>(out) = error->desc;
        return 1;
      },
      &message);
  // Of "file write failed: time = ..., errno = 28, error message = 'No space left on device', ..."
  // a user needs what failed and the system's reason.
  constexpr std::string_view kReason = "error message = '";
  const std::size_t reason = message.find(kReason);
  if (reason != std::string::npos) {
    const std::size_t begin = reason + kReason.size();
    message = message.substr(0, message.find_first_of(":,")) +
              " (errno: " + message.substr(begin, message.find('\'', begin) - begin) + ")";
  }
  return message.empty() ? "no further message" : message;
}

/// The answer of a call that fails only where the program is wrong or has no memory left.
template <typename Answer>
Answer must(const char* call, Answer answer) {
  if (answer < 0) {
    throw Error(Cause::io, text("the HDF5 library failed in ", call, ": ", library_message(),
                                "; is there memory left?"));
  }
  return answer;
}

Handle property_list(hid_t kind) { return {must("H5Pcreate", H5Pcreate(kind)), H5Pclose}; }

Handle with_groups_on_the_way() {
  Handle links = property_list(H5P_LINK_CREATE);
  must("H5Pset_create_intermediate_group", H5Pset_create_intermediate_group(links.id(), 1));
  return links;
}

/// For dataspaces in memory: (count) or of several dimensions.
Handle space_of(const std::vector<hsize_t>& sizes, const hsize_t* most = nullptr) {
  return {must("H5Screate_simple",
               H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), most)),
          H5Sclose};
}

hid_t memory_type(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::int32:
      return H5T_NATIVE_INT32;
    case Hdf5Type::int64:
      return H5T_NATIVE_INT64;
    case Hdf5Type::uint8:
      return H5T_NATIVE_UINT8;
    case Hdf5Type::float32:
      return H5T_NATIVE_FLOAT;
    case Hdf5Type::float64:
      return H5T_NATIVE_DOUBLE;
    default:
      LOG(FATAL) << "no memory type for " << name_of(type);
  }
}

Hdf5Type classify(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      return Hdf5Type::text;
    case H5T_INTEGER:
      if (H5Tget_sign(type) == H5T_SGN_NONE) {
        return size == 1 ? Hdf5Type::uint8 : Hdf5Type::other;
      }
      return size == 4 ? Hdf5Type::int32 : size == 8 ? Hdf5Type::int64 : Hdf5Type::other;
    case H5T_FLOAT:
      return size == 2   ? Hdf5Type::float16
             : size == 4 ? Hdf5Type::float32
             : size == 8 ? Hdf5Type::float64
                         : Hdf5Type::other;
    default:
      return Hdf5Type::other;
  }
}

/// Whether a dataset of type `stored` may be read into memory of type `wanted`.
bool readable_as(Hdf5Type stored, Hdf5Type wanted) {
  if (stored == wanted) return true;
  switch (wanted) {
    case Hdf5Type::int64:
      return stored == Hdf5Type::int32 || stored == Hdf5Type::uint8;
    case Hdf5Type::int32:
      return stored == Hdf5Type::uint8;
    case Hdf5Type::float32:
    case Hdf5Type::float64:
      return stored == Hdf5Type::float16 || stored == Hdf5Type::float32 ||
             stored == Hdf5Type::float64;
    default:
      return false;
  }
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> parts;
  for (const std::int64_t size : shape) parts.push_back(size < 0 ? "any" : std::to_string(size));
  return "(" + join(parts, ", ") + ")";
}

/// Product of sizes, or nothing where it does not fit.
std::optional<std::int64_t> product(const std::vector<std::int64_t>& sizes, std::int64_t factor) {
  std::int64_t all = factor;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(all, size, &all)) return std::nullopt;
  }
  return all;
}

/// "/a/b/c" for "a/b/c", "/a/b/c" and "/a/b/c/".
std::string absolute(const std::string& name) {
  std::string path = "/" + join(split(name, '/'), "/");
  std::string out;
  for (const char letter : path) {
    if (letter != '/' || out.empty() || out.back() != '/') out += letter;
  }
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

std::string folder_of(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  return slash == 0 ? "/" : name.substr(0, slash);
}

Handle text_type(std::size_t width) {  // width 0: variable length
  Handle type(must("H5Tcopy", H5Tcopy(H5T_C_S1)), H5Tclose);
  must("H5Tset_size", H5Tset_size(type.id(), width == 0 ? H5T_VARIABLE : width));
  must("H5Tset_cset", H5Tset_cset(type.id(), H5T_CSET_UTF8));
  must("H5Tset_strpad", H5Tset_strpad(type.id(), width == 0 ? H5T_STR_NULLTERM : H5T_STR_NULLPAD));
  return type;
}

/// A string of a fixed-width field: up to its padding.
std::string from_field(const char* field, std::size_t width, H5T_str_t padding) {
  std::size_t size = strnlen(field, width);
  if (padding == H5T_STR_SPACEPAD) {
    while (size > 0 && field[size - 1] == ' ') --size;
  }
  return {field, size};
}

}  // namespace

const char* name_of(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::int32:
      return "int32";
    case Hdf5Type::int64:
      return "int64";
    case Hdf5Type::uint8:
      return "uint8";
    case Hdf5Type::float32:
      return "float32";
    case Hdf5Type::float64:
      return "float64";
    case Hdf5Type::text:
      return "text";
    case Hdf5Type::float16:
      return "float16";
    case Hdf5Type::other:
      break;
  }
  return "another type";
}

std::int64_t Hdf5Info::row_elements() const {
  std::int64_t all = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) all *= shape[i];
  return all;
}

// All members of State are called with the library's mutex held.
struct Hdf5File::State {
  std::string path;
  hid_t file = H5I_INVALID_HID;
  bool writable = false;
  std::int64_t file_bytes = 0;               // when it was opened
  std::unique_ptr<Hdf5Structure> structure;  // where it was checked
  std::map<std::string, Handle> datasets;    // kept open: their chunk caches make appending cheap

  enum class Access { read, write };
  static std::unique_ptr<State> open(const std::string& path, Access access, Hdf5Bytes bytes);

  ~State() {
    if (file < 0) return;
    const Lock lock(library_mutex());
    if (!shut())
      LOG(ERROR) << path << ": closing failed, the file may be damaged: " << library_message();
  }

  bool shut() {
    datasets.clear();
    return H5Fclose(std::exchange(file, H5I_INVALID_HID)) >= 0;
  }

  std::string at(const std::string& name) const { return text(path, ":", name); }

  [[noreturn]] void fail_reading(const std::string& name, const std::string& what) const {
    // What the system refused has its reason; the rest, a filter that fails, is in the contents.
    const std::string message = library_message();
    const Cause cause = message.find("(errno: ") != std::string::npos ? Cause::io : Cause::data;
    throw Error(cause, text(at(name), ": ", what, " failed: ", message,
                            "; the file may be damaged, make or fetch it again"));
  }
  [[noreturn]] void fail_writing(const std::string& name) const {
    throw Error(Cause::io,
                text(at(name), ": cannot be written: ", library_message(), "; is the disk full?"));
  }

  /// The library's answer about an object of the file, which a damaged one may make a failure.
  Handle held(const std::string& name, hid_t id, herr_t (*release)(hid_t)) const {
    if (id < 0) fail_reading(name, "looking into it");
    return {id, release};
  }

  struct Object {
    std::string name;  // by hard links alone
    H5O_type_t type;
    haddr_t address;
  };

  /// Soft links are followed here and not by the library, which would go on into other files, whose
  /// structure nobody has checked.
  ///
  /// Errors   Error(Cause::data) where there is something that cannot be reached or read.
  std::optional<Object> find(const std::string& name) const {
    std::vector<std::string> left = split(name, '/');  // the last comes first
    std::reverse(left.begin(), left.end());
    int soft_links = 0;
    Object found = object_at("/", name);
    while (!left.empty()) {
      const std::string part = left.back();
      left.pop_back();
      if (part.empty() || part == ".") continue;
      const std::string path = (found.name == "/" ? "" : found.name) + "/" + part;
      if (found.type != H5O_TYPE_GROUP || H5Lexists(file, path.c_str(), H5P_DEFAULT) <= 0) {
        if (soft_links == 0) return std::nullopt;
        throw Error(Cause::data, text(at(name), " is a soft link to ", excerpt(path),
                                      ", where there is nothing"));
      }
#if H5_VERSION_GE(1, 12, 0)
      H5L_info1_t link;
      const herr_t got = H5Lget_info1(file, path.c_str(), &link, H5P_DEFAULT);
#else
      H5L_info_t link;
      const herr_t got = H5Lget_info(file, path.c_str(), &link, H5P_DEFAULT);
#endif
      if (got < 0) fail_reading(path, "reading the link");
      if (link.type == H5L_TYPE_HARD) {
        if (structure) structure->check(link.u.address);
        found = object_at(path, name);
        continue;
      }
      std::vector<char> target(link.u.val_size + 1, '\0');
      if (H5Lget_val(file, path.c_str(), target.data(), target.size(), H5P_DEFAULT) < 0)
        fail_reading(path, "reading the link");
      if (link.type != H5L_TYPE_SOFT) refuse_link(path, link.type, target);
      if (++soft_links > kMostSoftLinks) {
        throw Error(Cause::data, text(at(name), ": leads through more than ", kMostSoftLinks,
                                      " soft links; they seem to lead to each other"));
      }
      std::vector<std::string> onward = split(target.data(), '/');
      left.insert(left.end(), onward.rbegin(), onward.rend());
      if (target[0] == '/') found = object_at("/", name);
    }
    return found;
  }

  /// What lies at a path of hard links. asked: the name in messages.
  Object object_at(const std::string& path, const std::string& asked) const {
#if H5_VERSION_GE(1, 12, 0)
    H5O_info1_t info;
#else
    H5O_info_t info;
#endif
    std::string obstacle;
    if (H5Oget_info_by_name2(file, path.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
      if (structure) obstacle = structure->first_obstacle();
      if (obstacle.empty()) fail_reading(path, "opening the object");
    } else if (structure) {
      obstacle = structure->obstacle(info.addr);
    }
    if (!obstacle.empty())
      throw Error(Cause::data, text(at(asked), path == asked ? " " : " leads to what ", obstacle));
    return {path, info.type, info.addr};
  }

  [[noreturn]] void refuse_link(const std::string& path, H5L_type_t type,
                                const std::vector<char>& target) const {
    const char* other_file = nullptr;
    const char* other_object = nullptr;
    if (type == H5L_TYPE_EXTERNAL && H5Lunpack_elink_val(target.data(), target.size() - 1, nullptr,
                                                         &other_file, &other_object) >= 0) {
      throw Error(Cause::data, text(at(path), " is a link into another file (",
                                    excerpt(other_object), " of ", excerpt(other_file),
                                    "), which this program does not follow; ", kPutDataThere));
    }
    throw Error(Cause::data,
                text(at(path), " is a link of a kind that this program does not follow (",
                     static_cast<int>(type), "); put a dataset or a group there"));
  }

  bool exists(const std::string& name) const { return find(name).has_value(); }

  bool is(H5O_type_t type, const std::string& name) const {
    const std::optional<Object> found = find(name);
    return found && found->type == type;
  }

  std::vector<std::string> children(const std::string& group) const {
    const std::optional<Object> found = find(group);
    if (!found || found->type != H5O_TYPE_GROUP) {
      throw Error(Cause::data, text(at(group), ": expected a group, got ",
                                    found ? "something else" : "nothing", not_there(group)));
    }
    // In native order: for another the library makes a table of a large group, and when it finds
    // damage it frees what it has not yet filled in.
    std::vector<std::string> names;
    if (H5Literate_by_name(
            file, found->name.c_str(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr,
            [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
              static_cast<std::vector<std::string>*>(out)->emplace_back(name);
              return 0;
            },
            &names, H5P_DEFAULT) < 0) {
      fail_reading(group, "listing the group");
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// "; /domains has food, kitchen": what there is instead of a name that is not there.
  std::string not_there(const std::string& name) const {
    std::string group = folder_of(name);
    while (group != "/" && !is(H5O_TYPE_GROUP, group)) group = folder_of(group);
    if (group == name) return "";
    const std::vector<std::string> names = children(group);
    return text("; ", group, " has ", names.empty() ? "nothing" : listed(names));
  }

  hid_t dataset(const std::string& name) {
    const auto known = datasets.find(name);
    if (known != datasets.end()) return known->second.id();
    const std::optional<Object> found = find(name);
    if (!found) throw Error(Cause::data, text(at(name), ": no such dataset", not_there(name)));
    if (found->type != H5O_TYPE_DATASET) {
      throw Error(Cause::data, text(at(name), ": expected a dataset, got a ",
                                    found->type == H5O_TYPE_GROUP ? "group" : "type"));
    }
    Handle opened(H5Dopen2(file, found->name.c_str(), H5P_DEFAULT), H5Dclose);
    if (!opened.ok()) fail_reading(name, "opening the dataset");
    check_filters(name, opened.id());
    check_size(name, opened.id());
    check_text_chunks(name, opened.id(), found->address);
    return keep(name, found->name, std::move(opened));
  }

  /// Refuses elements that went through a filter which the library does not have.
  void check_filters(const std::string& name, hid_t id) const {
    const Handle plist = held(name, H5Dget_create_plist(id), H5Pclose);
    const int count = must("H5Pget_nfilters", H5Pget_nfilters(plist.id()));
    for (int i = 0; i < count; ++i) {
      unsigned flags = 0;
      std::size_t values = 0;
      char filter_name[64] = {};
      const H5Z_filter_t filter =
          H5Pget_filter2(plist.id(), static_cast<unsigned>(i), &flags, &values, nullptr,
                         sizeof filter_name - 1, filter_name, nullptr);
      if (filter < 0) fail_reading(name, "reading its filters");
      if (H5Zfilter_avail(filter) > 0) continue;
      throw Error(Cause::data,
                  text(at(name), " is compressed by the filter ", filter,
                       filter_name[0] == '\0' ? "" : " (" + excerpt(filter_name) + ")",
                       ", which this program's HDF5 library does not have; write it again with "
                       "gzip or without compression"));
    }
  }

  /// The strings of variable length in chunks that only the library finds.
  void check_text_chunks(const std::string& name, hid_t id, haddr_t address) const {
    if (!structure || !structure->awaits_chunks(address)) return;
    const Handle plist = held(name, H5Dget_create_plist(id), H5Pclose);
    hsize_t chunk[H5S_MAX_RANK] = {};
    const Hdf5Info what = info_of(name, id);
    // Texts of other shapes are never read.
    if (what.shape.size() != 1 || H5Pget_chunk(plist.id(), 1, chunk) != 1 || chunk[0] == 0) return;
    for (hsize_t row = 0; row < static_cast<hsize_t>(what.rows()); row += chunk[0]) {
      unsigned skipped = 0;
      haddr_t begin = HADDR_UNDEF;
      hsize_t bytes = 0;
      if (H5Dget_chunk_info_by_coord(id, &row, &skipped, &begin, &bytes) < 0)
        fail_reading(name, "finding its chunks");
      if (begin == HADDR_UNDEF) continue;
      if (bytes > static_cast<hsize_t>(file_bytes)) {
        throw Error(Cause::data, text(at(name), ": a chunk of ", bytes, " bytes in a file of ",
                                      file_bytes, "; the file is damaged"));
      }
      std::string stored(bytes, '\0');
      std::uint32_t mask = 0;
      if (H5Dread_chunk(id, H5P_DEFAULT, &row, &mask, stored.data()) < 0)
        fail_reading(name, "reading a chunk");
      structure->check_text_chunk(address, stored, mask);
    }
  }

  /// Opened again with a cache of some chunks: HDF5's default of 1 MiB holds none of a wide
  /// dataset, and each row that is read or added would then take its whole chunk through the
  /// filters.
  hid_t keep(const std::string& name, const std::string& path, Handle opened) {
    const Handle plist = held(name, H5Dget_create_plist(opened.id()), H5Pclose);
    if (must("H5Pget_layout", H5Pget_layout(plist.id())) == H5D_CHUNKED) {
      const std::size_t chunk_bytes =
          chunk_elements(plist.id()) * stored_element_bytes(name, opened.id());
      const Handle access = property_list(H5P_DATASET_ACCESS);
      must("H5Pset_chunk_cache",
           H5Pset_chunk_cache(access.id(), 521, std::max<std::size_t>(1 << 20, 2 * chunk_bytes),
                              1.0));
      opened = Handle();
      opened = Handle(H5Dopen2(file, path.c_str(), access.id()), H5Dclose);
      if (!opened.ok()) fail_reading(name, "opening the dataset");
    }
    const hid_t id = opened.id();
    datasets.insert_or_assign(name, std::move(opened));
    return id;
  }

  static std::size_t chunk_elements(hid_t plist) {
    hsize_t chunk[H5S_MAX_RANK] = {};
    const int rank = must("H5Pget_chunk", H5Pget_chunk(plist, H5S_MAX_RANK, chunk));
    std::size_t elements = 1;
    for (int i = 0; i < rank; ++i) elements *= chunk[i];
    return elements;
  }

  std::size_t stored_element_bytes(const std::string& name, hid_t id) const {
    const Handle type = held(name, H5Dget_type(id), H5Tclose);
    const std::size_t bytes = H5Tget_size(type.id());
    if (bytes == 0) fail_reading(name, "reading its type");
    return bytes;
  }

  /// Refuses a dataset whose sizes the file cannot hold, before anybody takes memory for them.
  void check_size(const std::string& name, hid_t id) const {
    if (writable)
      return;  // Not yet flushed data are not in the file; and what is written is our own.
    const Hdf5Info what = info_of(name, id);
    const Handle plist = held(name, H5Dget_create_plist(id), H5Pclose);
    const bool filtered = must("H5Pget_nfilters", H5Pget_nfilters(plist.id())) > 0;
    const std::int64_t limit = filtered ? file_bytes * kMostCompression : file_bytes;
    const auto element_bytes = static_cast<std::int64_t>(stored_element_bytes(name, id));
    const std::optional<std::int64_t> bytes = product(what.shape, element_bytes);
    bool fits = bytes && *bytes <= limit;
    if (must("H5Pget_layout", H5Pget_layout(plist.id())) == H5D_CHUNKED) {
      // One chunk is always held whole, however few rows are asked for. A file may be smaller than
      // its one chunk.
      hsize_t chunk[H5S_MAX_RANK] = {};
      const int rank = must("H5Pget_chunk", H5Pget_chunk(plist.id(), H5S_MAX_RANK, chunk));
      const std::optional<std::int64_t> chunk_bytes =
          product(std::vector<std::int64_t>(chunk, chunk + rank), element_bytes);
      fits = fits && chunk_bytes && *chunk_bytes <= std::max(limit, kMostChunkBytes);
    }
    if (!fits) {
      throw Error(Cause::data,
                  text(at(name), ": claims to be ", shape_text(what.shape), " of ", element_bytes,
                       " bytes each, which a file of ", in_bytes(static_cast<double>(file_bytes)),
                       " cannot hold; the file is damaged or was never filled"));
    }
  }

  Hdf5Info info_of(const std::string& name, hid_t id) const {
    Hdf5Info info;
    const Handle type = held(name, H5Dget_type(id), H5Tclose);
    info.type = classify(type.id());
    const Handle space = held(name, H5Dget_space(id), H5Sclose);
    hsize_t sizes[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_dims(space.id(), sizes, nullptr);
    if (rank < 0) fail_reading(name, "reading its shape");
    for (int i = 0; i < rank; ++i) info.shape.push_back(static_cast<std::int64_t>(sizes[i]));
    return info;
  }

  Hdf5Info expect(const std::string& name, Hdf5Type wanted) {
    Hdf5Info what = info_of(name, dataset(name));
    if (!readable_as(what.type, wanted)) {
      throw Error(Cause::data,
                  text(at(name), ": expected ", name_of(wanted), ", got ", name_of(what.type)));
    }
    return what;
  }

  void check_rows(const std::string& name, const Hdf5Info& what, Range rows) const {
    if (what.shape.empty()) {
      throw Error(Cause::data, text(at(name), ": expected rows, got a single value"));
    }
    if (rows.begin < 0 || rows.end < rows.begin || rows.end > what.rows()) {
      throw Error(Cause::data, text(at(name), ": rows ", rows.begin, " to ", rows.end,
                                    " asked for, but it has ", what.rows(), " rows"));
    }
  }

  /// Calls use(memory space, file space) with the rows selected; not at all if there is nothing in
  /// them.
  template <typename Use>
  void with_rows(const std::string& name, hid_t id, const Hdf5Info& what, Range rows,
                 const Use& use) const {
    if (rows.size() == 0 || what.row_elements() == 0) return;
    std::vector<hsize_t> start(what.shape.size(), 0);
    std::vector<hsize_t> count(what.shape.begin(), what.shape.end());
    start[0] = static_cast<hsize_t>(rows.begin);
    count[0] = static_cast<hsize_t>(rows.size());
    const Handle space = held(name, H5Dget_space(id), H5Sclose);
    must("H5Sselect_hyperslab", H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(),
                                                    nullptr, count.data(), nullptr));
    const Handle memory = space_of(count);
    use(memory.id(), space.id());
  }

  void check_writable(const std::string& name) const {
    CHECK(writable) << at(name) << ": the file was opened for reading only";
  }

  enum class Fill { by_caller, by_caller_later, zeros };

  hid_t make_dataset(const std::string& name, hid_t type, const std::vector<std::int64_t>& shape,
                     const Hdf5Storage& storage, Fill fill) {
    check_writable(name);
    CHECK(!shape.empty() &&
          std::all_of(shape.begin(), shape.end(), [](auto size) { return size >= 0; }))
        << at(name) << ": cannot make a dataset of shape " << shape_text(shape);
    if (exists(name)) throw Error(Cause::data, text(at(name), ": exists already"));
    const std::vector<hsize_t> sizes(shape.begin(), shape.end());
    std::vector<hsize_t> most = sizes;
    const Handle plist = property_list(H5P_DATASET_CREATE);
    // Equal contents make equal files.
    must("H5Pset_obj_track_times", H5Pset_obj_track_times(plist.id(), false));
    const bool has_elements = std::find(shape.begin(), shape.end(), 0) == shape.end();
    if (fill != Fill::by_caller && has_elements) {
      // In the file at once: a reader refuses a dataset that is larger than what its file holds.
      must("H5Pset_alloc_time", H5Pset_alloc_time(plist.id(), H5D_ALLOC_TIME_EARLY));
      must("H5Pset_fill_time",
           H5Pset_fill_time(plist.id(),
                            fill == Fill::zeros ? H5D_FILL_TIME_ALLOC : H5D_FILL_TIME_NEVER));
    }
    if (storage.extendable || (storage.compress && has_elements)) {
      std::vector<hsize_t> chunk(sizes);
      for (hsize_t& size : chunk) size = std::max<hsize_t>(size, 1);
      std::int64_t row_bytes = static_cast<std::int64_t>(H5Tget_size(type));
      for (std::size_t i = 1; i < chunk.size(); ++i)
        row_bytes *= static_cast<std::int64_t>(chunk[i]);
      std::int64_t rows = storage.chunk_rows > 0
                              ? storage.chunk_rows
                              : std::max<std::int64_t>(1, kChunkBytes / row_bytes);
      if (!storage.extendable)
        rows = std::min<std::int64_t>(rows, std::max<std::int64_t>(1, shape[0]));
      chunk[0] = static_cast<hsize_t>(rows);
      must("H5Pset_chunk", H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data()));
      if (storage.compress) {
        must("H5Pset_shuffle", H5Pset_shuffle(plist.id()));
        must("H5Pset_deflate", H5Pset_deflate(plist.id(), 4));
      }
      if (storage.extendable) most[0] = H5S_UNLIMITED;
    }
    const Handle links = with_groups_on_the_way();
    const Handle space = space_of(sizes, most.data());
    Handle made(
        H5Dcreate2(file, name.c_str(), type, space.id(), links.id(), plist.id(), H5P_DEFAULT),
        H5Dclose);
    if (!made.ok()) fail_writing(name);
    return keep(name, name, std::move(made));
  }

  /// Makes room for `rows` more; returns where they go.
  Range extend(const std::string& name, std::int64_t rows) {
    check_writable(name);
    const hid_t id = dataset(name);
    const Hdf5Info what = info_of(name, id);
    std::vector<hsize_t> sizes(what.shape.begin(), what.shape.end());
    CHECK(!sizes.empty() && rows >= 0) << at(name);
    const Range added{what.rows(), what.rows() + rows};
    sizes[0] = static_cast<hsize_t>(added.end);
    if (rows > 0 && H5Dset_extent(id, sizes.data()) < 0) fail_writing(name);
    return added;
  }

  void write_range(const std::string& name, hid_t type, const Hdf5Info& what, Range rows,
                   const void* values) {
    const hid_t id = dataset(name);
    with_rows(name, id, what, rows, [&](hid_t memory, hid_t space) {
      if (H5Dwrite(id, type, memory, space, H5P_DEFAULT, values) < 0) fail_writing(name);
    });
  }

  void write_text_rows(const std::string& name, Range rows,
                       const std::vector<std::string>& values) {
    const hid_t id = dataset(name);
    const Handle type = held(name, H5Dget_type(id), H5Tclose);
    const Hdf5Info what = info_of(name, id);
    CHECK(what.type == Hdf5Type::text && what.shape.size() == 1)
        << at(name) << " holds no list of strings";
    const bool variable = must("H5Tis_variable_str", H5Tis_variable_str(type.id())) > 0;
    const std::size_t width = stored_element_bytes(name, id);
    std::vector<const char*> pointers;
    std::string fields;
    for (std::int64_t begin = 0; begin < rows.size(); begin += kTextBlock) {
      const std::int64_t end = std::min(begin + kTextBlock, rows.size());
      pointers.clear();
      if (!variable) fields.assign(static_cast<std::size_t>(end - begin) * width, '\0');
      for (std::int64_t i = begin; i < end; ++i) {
        const std::string& value = values[static_cast<std::size_t>(i)];
        if (value.find('\0') != std::string::npos) {
          throw Error(Cause::data, text(at(name), ": the string '", value.c_str(), "...' in row ",
                                        rows.begin + i,
                                        " has a zero byte inside, which HDF5 strings cannot hold"));
        }
        if (variable) {
          pointers.push_back(value.c_str());
        } else {
          CHECK_LE(value.size(), width) << at(name);
          std::memcpy(fields.data() + static_cast<std::size_t>(i - begin) * width, value.data(),
                      value.size());
        }
      }
      const void* block = variable ? static_cast<const void*>(pointers.data()) : fields.data();
      write_range(name, type.id(), what, {rows.begin + begin, rows.begin + end}, block);
    }
  }

  std::vector<std::string> read_text_rows(const std::string& name, std::optional<Range> asked) {
    const Hdf5Info what = expect(name, Hdf5Type::text);
    if (what.shape.size() != 1) {
      throw Error(Cause::data, text(at(name), ": expected a list of strings, got shape ",
                                    shape_text(what.shape)));
    }
    const Range rows = asked.value_or(Range{0, what.rows()});
    check_rows(name, what, rows);
    const hid_t id = dataset(name);
    const Handle stored = held(name, H5Dget_type(id), H5Tclose);
    const bool variable = must("H5Tis_variable_str", H5Tis_variable_str(stored.id())) > 0;
    const std::size_t width = stored_element_bytes(name, id);
    std::vector<std::string> values;
    values.reserve(static_cast<std::size_t>(rows.size()));
    std::vector<char*> pointers;
    std::vector<char> fields;
    for (std::int64_t begin = rows.begin; begin < rows.end; begin += kTextBlock) {
      const Range block{begin, std::min(begin + kTextBlock, rows.end)};
      const auto count = static_cast<std::size_t>(block.size());
      with_rows(name, id, what, block, [&](hid_t memory, hid_t space) {
        if (variable) {
          pointers.assign(count, nullptr);
          const bool read =
              H5Dread(id, stored.id(), memory, space, H5P_DEFAULT, pointers.data()) >= 0;
          if (!read) fail_reading(name, "reading");
          for (const char* value : pointers) values.emplace_back(value == nullptr ? "" : value);
          must("H5Dvlen_reclaim",
               H5Dvlen_reclaim(stored.id(), memory, H5P_DEFAULT, pointers.data()));
        } else {
          fields.resize(count * width);
          if (H5Dread(id, stored.id(), memory, space, H5P_DEFAULT, fields.data()) < 0)
            fail_reading(name, "reading");
          const H5T_str_t padding = H5Tget_strpad(stored.id());
          for (std::size_t i = 0; i < count; ++i)
            values.push_back(from_field(fields.data() + i * width, width, padding));
        }
      });
    }
    return values;
  }

  Handle attribute_owner(const std::string& object) const {
    const std::optional<Object> found = find(object);
    if (!found) {
      throw Error(Cause::data, text(at(object), ": no such group or dataset", not_there(object)));
    }
    Handle owner(H5Oopen(file, found->name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!owner.ok()) fail_reading(object, "opening the object");
    return owner;
  }

  void write_attribute(const std::string& object, const std::string& name, hid_t type, hid_t space,
                       const void* value) {
    check_writable(object);
    const Handle owner = attribute_owner(object);
    if (H5Aexists(owner.id(), name.c_str()) > 0 && H5Adelete(owner.id(), name.c_str()) < 0)
      fail_writing(text(object, "@", name));
    const Handle attribute(
        H5Acreate2(owner.id(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (!attribute.ok() || (value != nullptr && H5Awrite(attribute.id(), type, value) < 0)) {
      fail_writing(text(object, "@", name));
    }
  }

  void write_single_attribute(const std::string& object, const std::string& name, hid_t type,
                              const void* value) {
    const Handle space(must("H5Screate", H5Screate(H5S_SCALAR)), H5Sclose);
    write_attribute(object, name, type, space.id(), value);
  }

  /// An attribute of a kind of type; `count` gets the number of its elements, which must be one
  /// where `single`.
  Handle open_attribute(const std::string& object, const std::string& name, const char* expected,
                        H5T_class_t wanted, bool single, std::size_t* count) const {
    const Handle owner = attribute_owner(object);
    const std::string where = text(object, "@", name);
    if (H5Aexists(owner.id(), name.c_str()) <= 0)
      throw Error(Cause::data, text(at(where), ": no such attribute"));
    Handle attribute(H5Aopen(owner.id(), name.c_str(), H5P_DEFAULT), H5Aclose);
    if (!attribute.ok()) fail_reading(where, "opening the attribute");
    const Handle type = held(where, H5Aget_type(attribute.id()), H5Tclose);
    const Handle space = held(where, H5Aget_space(attribute.id()), H5Sclose);
    const hssize_t points = H5Sget_simple_extent_npoints(space.id());
    if (points < 0) fail_reading(where, "reading its shape");
    if (H5Tget_class(type.id()) != wanted || (single && points != 1)) {
      throw Error(Cause::data, text(at(where), ": expected ", expected, ", got ", points, " of ",
                                    name_of(classify(type.id()))));
    }
    *count = static_cast<std::size_t>(points);
    return attribute;
  }

  template <typename T>
  T single_attribute(const std::string& object, const std::string& name, const char* expected,
                     H5T_class_t wanted, Hdf5Type type) const {
    std::size_t count = 0;
    const Handle attribute = open_attribute(object, name, expected, wanted, true, &count);
    T value{};
    if (H5Aread(attribute.id(), memory_type(type), &value) < 0)
      fail_reading(text(object, "@", name), "reading");
    return value;
  }
};

namespace {

/// What may be wrong with a path, found before HDF5 says it less clearly.
void check_readable(const std::string& path) {
  refuse_unreadable(path);
  if (look_at(path) == PathKind::other) {
    throw Error(Cause::io, text("cannot read ", path, ": expected an HDF5 file, got a device"));
  }
}

/// The process of this machine that has the lock, as "process 12 (python3)"; "another process"
/// where the system does not show it.
std::string holder_of_lock(const struct stat& file) {
  std::ifstream locks("/proc/locks");
  char wanted[64];
  std::snprintf(wanted, sizeof wanted, "%02x:%02x:%llu", major(file.st_dev), minor(file.st_dev),
                static_cast<unsigned long long>(file.st_ino));
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string strictness;
    std::string access;
    std::string process;
    std::string place;
    words >> number >> kind >> strictness >> access >> process >> place;
    if (place != wanted || access != "WRITE") continue;
    std::string name;
    std::ifstream comm("/proc/" + process + "/comm");
    std::getline(comm, name);
    return text("process ", process, name.empty() ? "" : " (" + printable(name) + ")");
  }
  return "another process";
}

/// Throws where another program, such as h5py, has the file open for writing and says so by the
/// lock that HDF5 takes. Where the file system has no locks there is nothing to ask; nor where the
/// user has told all HDF5 programs not to ask.
void refuse_being_written(const std::string& path) {
  const char* const wish = std::getenv("HDF5_USE_FILE_LOCKING");
  if (wish != nullptr && (std::string(wish) == "FALSE" || std::string(wish) == "0")) return;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) refuse_path("open", path, errno);
  const bool is_held = ::flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  struct stat status {};
  const bool is_known = is_held && ::fstat(descriptor, &status) == 0;
  ::close(descriptor);
  if (!is_held) return;
  throw Error(Cause::io, text("cannot read ", path, ": ",
                              is_known ? holder_of_lock(status) : std::string("another process"),
                              " has it open for writing; wait until it has closed the file"));
}

/// HDF5's own locks are off: a file system may lack them (NFS, Lustre without flock), a file that
/// is written has an unfinished name, and a run folder has one run at a time (io/run_lock.h).
Handle file_access() {
  Handle access = property_list(H5P_FILE_ACCESS);
  must("H5Pset_fclose_degree", H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG));
#ifdef MICREC_HDF5_HAS_FILE_LOCKING
  must("H5Pset_file_locking",
       H5Pset_file_locking(access.id(), /*use=*/false, /*ignore_when_disabled=*/true));
#endif
  return access;
}

hid_t open_existing(const std::string& path, unsigned mode, const Hdf5Structure* structure) {
  H5Eset_auto2(H5E_DEFAULT, nullptr,
               nullptr);                // We say it in our own words; HDF5 would print it as well.
  const Handle access = file_access();  // Closing it would clear the messages.
  const hid_t file = H5Fopen(path.c_str(), mode, access.id());
  if (file < 0) {
    const std::string message = library_message();
    const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
    if (is_hdf5 == 0)
      throw Error(Cause::data, text(path, ": not an HDF5 file; is it another format, or empty?"));
    if (message.find("truncated") != std::string::npos) {
      throw Error(Cause::data, text(path, ": cut off (", message, "); make or fetch it again"));
    }
    if (message.find("unable to lock file") != std::string::npos) {  // against our own wish
      throw Error(Cause::io, text("cannot open ", path, ": ", message,
                                  "; micrec needs no locks of HDF5: unset HDF5_USE_FILE_LOCKING"));
    }
    if (message.find("errno") != std::string::npos) {  // The system refused, not the contents.
      throw Error(Cause::io, text(path, ": cannot be opened as HDF5: ", message));
    }
    const std::string obstacle = structure == nullptr ? "" : structure->first_obstacle();
    if (!obstacle.empty()) throw Error(Cause::data, text(path, " ", obstacle));
    throw Error(Cause::data, text(path, ": damaged (", message, "); make or fetch it again"));
  }
  return file;
}

}  // namespace

std::unique_ptr<Hdf5File::State> Hdf5File::State::open(const std::string& path, Access access,
                                                       Hdf5Bytes bytes) {
  check_readable(path);
  refuse_being_written(path);
  auto state = std::make_unique<State>();
  state->path = path;
  state->writable = access == Access::write;
  const Lock lock(library_mutex());
  if (bytes == Hdf5Bytes::of_anybody) state->structure = std::make_unique<Hdf5Structure>(path);
  // Here and not with the caller: HDF5's constants start the library, too early before the mutex.
  const unsigned mode = state->writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY;
  state->file = open_existing(path, mode, state->structure.get());
  state->file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  return state;
}

Hdf5File::Hdf5File(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->writable = true;
  const Lock lock(library_mutex());
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const Handle access = file_access();
  const Handle plist = property_list(H5P_FILE_CREATE);
  must("H5Pset_obj_track_times", H5Pset_obj_track_times(plist.id(), false));
  state->file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, plist.id(), access.id());
  if (state->file < 0) {
    const std::string message = library_message();
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) refuse_path("write", path, errno);
    ::close(descriptor);
    throw Error(Cause::io, text("cannot write ", path, ": ", message));
  }
  return Hdf5File(std::move(state));
}

Hdf5File Hdf5File::open(const std::string& path, Hdf5Bytes bytes) {
  return Hdf5File(State::open(path, State::Access::read, bytes));
}

bool Hdf5File::is_another_format(const std::string& path) {
  if (look_at(path) != PathKind::file) return false;
  const Lock lock(library_mutex());
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return H5Fis_hdf5(path.c_str()) == 0;
}

Hdf5File Hdf5File::open_to_write(const std::string& path) {
  return Hdf5File(State::open(path, State::Access::write, Hdf5Bytes::of_anybody));
}

const std::string& Hdf5File::path() const { return state_->path; }

void Hdf5File::flush() {
  const Lock lock(library_mutex());
  if (H5Fflush(state_->file, H5F_SCOPE_LOCAL) < 0) state_->fail_writing("/");
}

void Hdf5File::close() {
  const Lock lock(library_mutex());
  CHECK_GE(state_->file, 0) << path() << " is closed already";
  const bool flushed = !state_->writable || H5Fflush(state_->file, H5F_SCOPE_LOCAL) >= 0;
  const std::string message = flushed ? "" : library_message();
  if (!state_->shut() || !flushed) {
    throw Error(Cause::io, text(path(), ": cannot be written: ",
                                flushed ? library_message() : message, "; is the disk full?"));
  }
}

bool Hdf5File::exists(const std::string& name) const {
  const Lock lock(library_mutex());
  return state_->exists(absolute(name));
}

bool Hdf5File::is_dataset(const std::string& name) const {
  const Lock lock(library_mutex());
  return state_->is(H5O_TYPE_DATASET, absolute(name));
}

std::vector<std::string> Hdf5File::children(const std::string& group) const {
  const Lock lock(library_mutex());
  return state_->children(absolute(group));
}

Hdf5Info Hdf5File::info(const std::string& dataset) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  return state_->info_of(name, state_->dataset(name));
}

std::vector<std::int64_t> Hdf5File::expect_shape(const std::string& dataset,
                                                 const std::vector<std::int64_t>& expected) const {
  const std::vector<std::int64_t> shape = info(dataset).shape;
  const bool fits =
      std::equal(shape.begin(), shape.end(), expected.begin(), expected.end(),
                 [](std::int64_t got, std::int64_t want) { return want == -1 || got == want; });
  if (!fits) {
    throw Error(Cause::data, text(state_->at(absolute(dataset)), ": expected shape ",
                                  shape_text(expected), ", got ", shape_text(shape)));
  }
  return shape;
}

std::optional<std::int64_t> Hdf5File::offset_in_file(const std::string& dataset) const {
  const Lock lock(library_mutex());
  const haddr_t offset = H5Dget_offset(state_->dataset(absolute(dataset)));
  if (offset == HADDR_UNDEF) return std::nullopt;
  return static_cast<std::int64_t>(offset);
}

void Hdf5File::write_numbers(const std::string& dataset, Hdf5Type type, const void* values,
                             const std::vector<std::int64_t>& shape, const Hdf5Storage& storage) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  state_->make_dataset(name, memory_type(type), shape, storage, State::Fill::by_caller);
  state_->write_range(name, memory_type(type), Hdf5Info{type, shape}, {0, shape[0]}, values);
}

void Hdf5File::reserve_numbers(const std::string& dataset, Hdf5Type type,
                               const std::vector<std::int64_t>& shape, const Hdf5Storage& storage) {
  const Lock lock(library_mutex());
  state_->make_dataset(absolute(dataset), memory_type(type), shape, storage,
                       storage.zeros ? State::Fill::zeros : State::Fill::by_caller_later);
}

void Hdf5File::write_number_rows(const std::string& dataset, Hdf5Type type, Range rows,
                                 const void* values) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  state_->check_writable(name);
  const Hdf5Info what = state_->expect(name, type);
  state_->check_rows(name, what, rows);
  state_->write_range(name, memory_type(type), what, rows, values);
}

void Hdf5File::append_numbers(const std::string& dataset, Hdf5Type type, const void* values,
                              std::int64_t rows) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  state_->expect(name, type);
  const Range added = state_->extend(name, rows);
  state_->write_range(name, memory_type(type), state_->info_of(name, state_->dataset(name)), added,
                      values);
}

std::size_t Hdf5File::elements_to_read(const std::string& dataset, Hdf5Type type) const {
  const Lock lock(library_mutex());
  const Hdf5Info what = state_->expect(absolute(dataset), type);
  return static_cast<std::size_t>(what.rows() * what.row_elements());
}

void Hdf5File::read_all_numbers(const std::string& dataset, Hdf5Type type, void* out) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const hid_t id = state_->dataset(name);
  if (H5Dread(id, memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
    state_->fail_reading(name, "reading");
}

void Hdf5File::read_number_rows(const std::string& dataset, Hdf5Type type, Range rows,
                                void* out) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const Hdf5Info what = state_->expect(name, type);
  state_->check_rows(name, what, rows);
  const hid_t id = state_->dataset(name);
  state_->with_rows(name, id, what, rows, [&](hid_t memory, hid_t space) {
    if (H5Dread(id, memory_type(type), memory, space, H5P_DEFAULT, out) < 0)
      state_->fail_reading(name, "reading");
  });
}

void Hdf5File::write_text(const std::string& dataset, const std::vector<std::string>& values,
                          const Hdf5Storage& storage) {
  std::size_t longest = 1;
  std::size_t all = 0;
  for (const std::string& value : values) {
    longest = std::max(longest, value.size());
    all += value.size();
  }
  // A variable-length string costs 16 bytes beside its characters, and is not compressed.
  const bool fixed =
      !storage.extendable && longest * values.size() <= kMostPadding * (all + 16 * values.size());
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const auto rows = static_cast<std::int64_t>(values.size());
  state_->make_dataset(name, text_type(fixed ? longest : 0).id(), {rows}, storage,
                       State::Fill::by_caller);
  state_->write_text_rows(name, {0, rows}, values);
}

void Hdf5File::append_text(const std::string& dataset, const std::vector<std::string>& values) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  state_->expect(name, Hdf5Type::text);
  state_->write_text_rows(name, state_->extend(name, static_cast<std::int64_t>(values.size())),
                          values);
}

std::vector<std::string> Hdf5File::read_text(const std::string& dataset) const {
  const Lock lock(library_mutex());
  return state_->read_text_rows(absolute(dataset), std::nullopt);
}

std::vector<std::string> Hdf5File::read_text(const std::string& dataset, Range rows) const {
  const Lock lock(library_mutex());
  return state_->read_text_rows(absolute(dataset), rows);
}

void Hdf5File::make_group(const std::string& group) {
  const Lock lock(library_mutex());
  const std::string name = absolute(group);
  state_->check_writable(name);
  if (state_->exists(name)) throw Error(Cause::data, text(state_->at(name), ": exists already"));
  const Handle links = with_groups_on_the_way();
  const Handle made(H5Gcreate2(state_->file, name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
                    H5Gclose);
  if (!made.ok()) state_->fail_writing(name);
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  const std::optional<State::Object> owner = state_->find(absolute(object));
  return owner &&
         H5Aexists_by_name(state_->file, owner->name.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             const std::string& value) {
  const Lock lock(library_mutex());
  const char* letters = value.c_str();
  state_->write_single_attribute(absolute(object), name, text_type(0).id(), &letters);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             std::int64_t value) {
  const Lock lock(library_mutex());
  state_->write_single_attribute(absolute(object), name, H5T_NATIVE_INT64, &value);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name, double value) {
  const Lock lock(library_mutex());
  state_->write_single_attribute(absolute(object), name, H5T_NATIVE_DOUBLE, &value);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             const std::vector<float>& values) {
  CHECK_LE(static_cast<std::int64_t>(values.size()), kMostAttributeValues)
      << "write a dataset instead";
  const Lock lock(library_mutex());
  const Handle space = space_of({values.size()});
  state_->write_attribute(absolute(object), name, H5T_NATIVE_FLOAT, space.id(),
                          values.empty() ? nullptr : values.data());
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  std::size_t count = 0;
  const std::string owner = absolute(object);
  const Handle attribute =
      state_->open_attribute(owner, name, "one string", H5T_STRING, true, &count);
  const Handle type = state_->held(text(owner, "@", name), H5Aget_type(attribute.id()), H5Tclose);
  if (must("H5Tis_variable_str", H5Tis_variable_str(type.id())) > 0) {
    char* letters = nullptr;
    if (H5Aread(attribute.id(), type.id(), &letters) < 0)
      state_->fail_reading(text(owner, "@", name), "reading");
    std::string value = letters == nullptr ? "" : letters;
    H5free_memory(letters);
    return value;
  }
  std::vector<char> field(H5Tget_size(type.id()));
  if (H5Aread(attribute.id(), type.id(), field.data()) < 0)
    state_->fail_reading(text(owner, "@", name), "reading");
  return from_field(field.data(), field.size(), H5Tget_strpad(type.id()));
}

std::int64_t Hdf5File::integer_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  return state_->single_attribute<std::int64_t>(absolute(object), name, "one integer", H5T_INTEGER,
                                                Hdf5Type::int64);
}

double Hdf5File::real_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  return state_->single_attribute<double>(absolute(object), name, "one float", H5T_FLOAT,
                                          Hdf5Type::float64);
}

std::vector<float> Hdf5File::vector_attribute(const std::string& object,
                                              const std::string& name) const {
  const Lock lock(library_mutex());
  std::size_t count = 0;
  const std::string owner = absolute(object);
  const Handle attribute =
      state_->open_attribute(owner, name, "a list of floats", H5T_FLOAT, false, &count);
  std::vector<float> values(count);
  if (count > 0 && H5Aread(attribute.id(), H5T_NATIVE_FLOAT, values.data()) < 0) {
    state_->fail_reading(text(owner, "@", name), "reading");
  }
  return values;
}

}  // namespace micrec
