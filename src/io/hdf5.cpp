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
#include "io/hdf5_structure.h"
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
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), width == 0 ? H5T_VARIABLE : width);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  H5Tset_strpad(type.id(), width == 0 ? H5T_STR_NULLTERM : H5T_STR_NULLPAD);
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
  std::int64_t file_bytes = 0;             // when it was opened
  std::map<std::string, Handle> datasets;  // kept open: their chunk caches make appending cheap

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
    throw Error(Cause::io, text(at(name), ": ", what, " failed: ", library_message(),
                                "; the file may be damaged, make or fetch it again"));
  }
  [[noreturn]] void fail_writing(const std::string& name) const {
    throw Error(Cause::io,
                text(at(name), ": cannot be written: ", library_message(), "; is the disk full?"));
  }

  bool exists(const std::string& name) const {
    if (name == "/") return true;
    for (std::size_t end = name.find('/', 1); end != std::string::npos;
         end = name.find('/', end + 1)) {
      if (!is_object(name.substr(0, end))) return false;
    }
    return is_object(name);
  }

  bool is_object(const std::string& name) const {
    if (H5Lexists(file, name.c_str(), H5P_DEFAULT) <= 0) return false;
    H5L_info_t link;
    // What a link to another file leads to has not been checked.
    if (H5Lget_info(file, name.c_str(), &link, H5P_DEFAULT) < 0 ||
        (link.type != H5L_TYPE_HARD && link.type != H5L_TYPE_SOFT))
      return false;
    return H5Oexists_by_name(file, name.c_str(), H5P_DEFAULT) > 0;
  }

  H5I_type_t kind(const std::string& name) const {
    if (!exists(name)) return H5I_BADID;
    const Handle object(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
    return object.ok() ? H5Iget_type(object.id()) : H5I_BADID;
  }

  std::vector<std::string> children(const std::string& group) const {
    const H5I_type_t type = kind(group);
    if (type != H5I_GROUP) {
      throw Error(Cause::data,
                  text(at(group), ": expected a group, got ",
                       type == H5I_BADID ? "nothing" : "something else", not_there(group)));
    }
    std::vector<std::string> names;
    if (H5Literate_by_name(
            file, group.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
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
    while (group != "/" && kind(group) != H5I_GROUP) group = folder_of(group);
    if (group == name) return "";
    const std::vector<std::string> names = children(group);
    return text("; ", group, " has ", names.empty() ? "nothing" : listed(names));
  }

  hid_t dataset(const std::string& name) {
    const auto found = datasets.find(name);
    if (found != datasets.end()) return found->second.id();
    if (!exists(name)) {
      throw Error(Cause::data, text(at(name), ": no such dataset", not_there(name)));
    }
    if (kind(name) != H5I_DATASET) {
      throw Error(Cause::data, text(at(name), ": expected a dataset, got a group"));
    }
    Handle opened(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
    if (!opened.ok()) fail_reading(name, "opening the dataset");
    check_size(name, opened.id());
    return keep(name, std::move(opened));
  }

  /// Opened again with a cache of some chunks: HDF5's default of 1 MiB holds none of a wide
  /// dataset, and each row that is read or added would then take its whole chunk through the
  /// filters.
  hid_t keep(const std::string& name, Handle opened) {
    const Handle plist(H5Dget_create_plist(opened.id()), H5Pclose);
    if (H5Pget_layout(plist.id()) == H5D_CHUNKED) {
      const std::size_t chunk_bytes =
          chunk_elements(plist.id()) * stored_element_bytes(opened.id());
      const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
      H5Pset_chunk_cache(access.id(), 521, std::max<std::size_t>(1 << 20, 2 * chunk_bytes), 1.0);
      opened = Handle();
      opened = Handle(H5Dopen2(file, name.c_str(), access.id()), H5Dclose);
      if (!opened.ok()) fail_reading(name, "opening the dataset");
    }
    const hid_t id = opened.id();
    datasets.insert_or_assign(name, std::move(opened));
    return id;
  }

  static std::size_t chunk_elements(hid_t plist) {
    hsize_t chunk[H5S_MAX_RANK] = {};
    const int rank = H5Pget_chunk(plist, H5S_MAX_RANK, chunk);
    std::size_t elements = 1;
    for (int i = 0; i < rank; ++i) elements *= chunk[i];
    return elements;
  }

  static std::size_t stored_element_bytes(hid_t id) {
    const Handle type(H5Dget_type(id), H5Tclose);
    return H5Tget_size(type.id());
  }

  /// Refuses a dataset whose sizes the file cannot hold, before anybody takes memory for them.
  void check_size(const std::string& name, hid_t id) const {
    if (writable)
      return;  // Not yet flushed data are not in the file; and what is written is our own.
    const Hdf5Info what = info_of(id);
    const Handle plist(H5Dget_create_plist(id), H5Pclose);
    const bool filtered = H5Pget_nfilters(plist.id()) > 0;
    const std::int64_t limit = filtered ? file_bytes * kMostCompression : file_bytes;
    const auto element_bytes = static_cast<std::int64_t>(stored_element_bytes(id));
    const std::optional<std::int64_t> bytes = product(what.shape, element_bytes);
    bool fits = bytes && *bytes <= limit;
    if (H5Pget_layout(plist.id()) == H5D_CHUNKED) {
      // One chunk is always held whole, however few rows are asked for. A file may be smaller than
      // its one chunk.
      hsize_t chunk[H5S_MAX_RANK] = {};
      const int rank = H5Pget_chunk(plist.id(), H5S_MAX_RANK, chunk);
      const std::optional<std::int64_t> chunk_bytes =
          product(std::vector<std::int64_t>(chunk, chunk + std::max(rank, 0)), element_bytes);
      fits = fits && chunk_bytes && *chunk_bytes <= std::max(limit, kMostChunkBytes);
    }
    if (!fits) {
      throw Error(Cause::data,
                  text(at(name), ": claims to be ", shape_text(what.shape), " of ", element_bytes,
                       " bytes each, which a file of ", in_bytes(static_cast<double>(file_bytes)),
                       " cannot hold; the file is damaged or was never filled"));
    }
  }

  static Hdf5Info info_of(hid_t id) {
    Hdf5Info info;
    const Handle type(H5Dget_type(id), H5Tclose);
    info.type = classify(type.id());
    const Handle space(H5Dget_space(id), H5Sclose);
    hsize_t sizes[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_dims(space.id(), sizes, nullptr);
    for (int i = 0; i < rank; ++i) info.shape.push_back(static_cast<std::int64_t>(sizes[i]));
    return info;
  }

  Hdf5Info expect(const std::string& name, Hdf5Type wanted) {
    Hdf5Info what = info_of(dataset(name));
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
  void with_rows(hid_t id, const Hdf5Info& what, Range rows, const Use& use) const {
    if (rows.size() == 0 || what.row_elements() == 0) return;
    std::vector<hsize_t> start(what.shape.size(), 0);
    std::vector<hsize_t> count(what.shape.begin(), what.shape.end());
    start[0] = static_cast<hsize_t>(rows.begin);
    count[0] = static_cast<hsize_t>(rows.size());
    const Handle space(H5Dget_space(id), H5Sclose);
    H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    const Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr),
                        H5Sclose);
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
    const Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_obj_track_times(plist.id(), false);  // Equal contents make equal files.
    const bool has_elements = std::find(shape.begin(), shape.end(), 0) == shape.end();
    if (fill != Fill::by_caller && has_elements) {
      // In the file at once: a reader refuses a dataset that is larger than what its file holds.
      H5Pset_alloc_time(plist.id(), H5D_ALLOC_TIME_EARLY);
      H5Pset_fill_time(plist.id(), fill == Fill::zeros ? H5D_FILL_TIME_ALLOC : H5D_FILL_TIME_NEVER);
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
      H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data());
      if (storage.compress) {
        H5Pset_shuffle(plist.id());
        H5Pset_deflate(plist.id(), 4);
      }
      if (storage.extendable) most[0] = H5S_UNLIMITED;
    }
    const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.id(), 1);
    const Handle space(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), most.data()),
                       H5Sclose);
    Handle made(
        H5Dcreate2(file, name.c_str(), type, space.id(), links.id(), plist.id(), H5P_DEFAULT),
        H5Dclose);
    if (!made.ok()) fail_writing(name);
    return keep(name, std::move(made));
  }

  /// Makes room for `rows` more; returns where they go.
  Range extend(const std::string& name, std::int64_t rows) {
    check_writable(name);
    const hid_t id = dataset(name);
    const Hdf5Info what = info_of(id);
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
    with_rows(id, what, rows, [&](hid_t memory, hid_t space) {
      if (H5Dwrite(id, type, memory, space, H5P_DEFAULT, values) < 0) fail_writing(name);
    });
  }

  void write_text_rows(const std::string& name, Range rows,
                       const std::vector<std::string>& values) {
    const hid_t id = dataset(name);
    const Handle type(H5Dget_type(id), H5Tclose);
    const Hdf5Info what = info_of(id);
    CHECK(what.type == Hdf5Type::text && what.shape.size() == 1)
        << at(name) << " holds no list of strings";
    const bool variable = H5Tis_variable_str(type.id()) > 0;
    const std::size_t width = H5Tget_size(type.id());
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
    const Handle stored(H5Dget_type(id), H5Tclose);
    const bool variable = H5Tis_variable_str(stored.id()) > 0;
    const std::size_t width = H5Tget_size(stored.id());
    std::vector<std::string> values;
    values.reserve(static_cast<std::size_t>(rows.size()));
    std::vector<char*> pointers;
    std::vector<char> fields;
    for (std::int64_t begin = rows.begin; begin < rows.end; begin += kTextBlock) {
      const Range block{begin, std::min(begin + kTextBlock, rows.end)};
      const auto count = static_cast<std::size_t>(block.size());
      with_rows(id, what, block, [&](hid_t memory, hid_t space) {
        if (variable) {
          pointers.assign(count, nullptr);
          const bool read =
              H5Dread(id, stored.id(), memory, space, H5P_DEFAULT, pointers.data()) >= 0;
          if (!read) fail_reading(name, "reading");
          for (const char* value : pointers) values.emplace_back(value == nullptr ? "" : value);
          H5Dvlen_reclaim(stored.id(), memory, H5P_DEFAULT, pointers.data());
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
    if (!exists(object)) {
      throw Error(Cause::data, text(at(object), ": no such group or dataset", not_there(object)));
    }
    Handle owner(H5Oopen(file, object.c_str(), H5P_DEFAULT), H5Oclose);
    if (!owner.ok()) fail_reading(object, "opening the object");
    return owner;
  }

  void write_attribute(const std::string& object, const std::string& name, hid_t type, hid_t space,
                       const void* value) {
    check_writable(object);
    const Handle owner = attribute_owner(object);
    if (H5Aexists(owner.id(), name.c_str()) > 0) H5Adelete(owner.id(), name.c_str());
    const Handle attribute(
        H5Acreate2(owner.id(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (!attribute.ok() || (value != nullptr && H5Awrite(attribute.id(), type, value) < 0)) {
      fail_writing(text(object, "@", name));
    }
  }

  void write_single_attribute(const std::string& object, const std::string& name, hid_t type,
                              const void* value) {
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
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
    const Handle type(H5Aget_type(attribute.id()), H5Tclose);
    const Handle space(H5Aget_space(attribute.id()), H5Sclose);
    const hssize_t points = H5Sget_simple_extent_npoints(space.id());
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
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
#ifdef MICREC_HDF5_HAS_FILE_LOCKING
  H5Pset_file_locking(access.id(), /*use=*/false, /*ignore_when_disabled=*/true);
#endif
  return access;
}

hid_t open_existing(const std::string& path, unsigned mode) {
  check_readable(path);
  refuse_being_written(path);
  check_hdf5_structure(path);
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
    throw Error(Cause::data, text(path, ": damaged (", message, "); make or fetch it again"));
  }
  return file;
}

}  // namespace

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
  const Handle plist(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(plist.id(), false);
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

Hdf5File Hdf5File::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  const Lock lock(library_mutex());
  state->file = open_existing(path, H5F_ACC_RDONLY);
  state->file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  return Hdf5File(std::move(state));
}

Hdf5File Hdf5File::open_to_write(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->writable = true;
  const Lock lock(library_mutex());
  state->file = open_existing(path, H5F_ACC_RDWR);
  state->file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  return Hdf5File(std::move(state));
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
  return state_->kind(absolute(name)) == H5I_DATASET;
}

std::vector<std::string> Hdf5File::children(const std::string& group) const {
  const Lock lock(library_mutex());
  return state_->children(absolute(group));
}

Hdf5Info Hdf5File::info(const std::string& dataset) const {
  const Lock lock(library_mutex());
  return State::info_of(state_->dataset(absolute(dataset)));
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
  state_->write_range(name, memory_type(type), State::info_of(state_->dataset(name)), added,
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
  state_->with_rows(id, what, rows, [&](hid_t memory, hid_t space) {
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
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.id(), 1);
  const Handle made(H5Gcreate2(state_->file, name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
                    H5Gclose);
  if (!made.ok()) state_->fail_writing(name);
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  const std::string owner = absolute(object);
  return state_->exists(owner) &&
         H5Aexists_by_name(state_->file, owner.c_str(), name.c_str(), H5P_DEFAULT) > 0;
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
  const hsize_t size = values.size();
  const Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  state_->write_attribute(absolute(object), name, H5T_NATIVE_FLOAT, space.id(),
                          values.empty() ? nullptr : values.data());
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  std::size_t count = 0;
  const std::string owner = absolute(object);
  const Handle attribute =
      state_->open_attribute(owner, name, "one string", H5T_STRING, true, &count);
  const Handle type(H5Aget_type(attribute.id()), H5Tclose);
  if (H5Tis_variable_str(type.id()) > 0) {
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
