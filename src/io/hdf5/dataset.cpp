#include <glog/logging.h>
#include <hdf5.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/hdf5.h"
#include "io/hdf5/open_file.h"

namespace micrec {
namespace hdf5 {
namespace {

constexpr std::int64_t kChunkBytes = 256 * 1024;
constexpr std::int64_t kMostChunkBytes = std::int64_t{1} << 30;
// Deflate shrinks at most 1032 times, so a compressed dataset cannot be larger than this many
// files.
constexpr std::int64_t kMostCompression = 1032;

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

/// Product of sizes, or nothing where it does not fit.
std::optional<std::int64_t> product(const std::vector<std::int64_t>& sizes, std::int64_t factor) {
  std::int64_t all = factor;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(all, size, &all)) return std::nullopt;
  }
  return all;
}

/// How a dataset lies in its file.
struct Storage {
  Handle plist;
  int filters = 0;
  std::optional<std::vector<std::int64_t>> chunk;  // its shape, where there are chunks
};

Storage storage_of(const OpenFile& file, const std::string& name, hid_t id) {
  Storage storage;
  storage.plist = file.held(name, H5Dget_create_plist(id), H5Pclose);
  const hid_t plist = storage.plist.id();
  storage.filters = must("H5Pget_nfilters", H5Pget_nfilters(plist));
  if (must("H5Pget_layout", H5Pget_layout(plist)) != H5D_CHUNKED) return storage;
  hsize_t chunk[H5S_MAX_RANK] = {};
  const int rank = must("H5Pget_chunk", H5Pget_chunk(plist, H5S_MAX_RANK, chunk));
  storage.chunk.emplace(chunk, chunk + rank);
  return storage;
}

/// Refuses elements that went through a filter which the library does not have.
void check_filters(const OpenFile& file, const std::string& name, const Storage& storage) {
  for (int i = 0; i < storage.filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    char filter_name[64] = {};
    const H5Z_filter_t filter =
        H5Pget_filter2(storage.plist.id(), static_cast<unsigned>(i), &flags, &values, nullptr,
                       sizeof filter_name - 1, filter_name, nullptr);
    if (filter < 0) file.fail_reading(name, "reading its filters");
    if (must("H5Zfilter_avail", H5Zfilter_avail(filter)) > 0) continue;
    throw Error(Cause::data, file.at(name), " is compressed by the filter ", filter,
                filter_name[0] == '\0' ? "" : " (" + excerpt(filter_name) + ")",
                ", which this program's HDF5 library does not have; write it again with gzip or "
                "without compression");
  }
}

/// Refuses a dataset whose sizes the file cannot hold, before anybody takes memory for them.
void check_size(const OpenFile& file, const std::string& name, hid_t id, const Storage& storage) {
  if (file.writable) return;  // What is not yet flushed is not in the file, and it is our own.
  const Hdf5Info what = info_of(file, name, id);
  const std::int64_t limit = storage.filters > 0 ? file.bytes * kMostCompression : file.bytes;
  const auto element_bytes = static_cast<std::int64_t>(stored_element_bytes(file, name, id));
  const std::optional<std::int64_t> bytes = product(what.shape, element_bytes);
  bool fits = bytes && *bytes <= limit;
  if (storage.chunk) {
    // One chunk is always held whole, however few rows are asked for. A file may be smaller than
    // its one chunk.
    const std::optional<std::int64_t> chunk_bytes = product(*storage.chunk, element_bytes);
    fits = fits && chunk_bytes && *chunk_bytes <= std::max(limit, kMostChunkBytes);
  }
  if (!fits) {
    throw Error(Cause::data, file.at(name), ": claims to be ", shape_text(what.shape), " of ",
                element_bytes, " bytes each, which a file of ",
                in_bytes(static_cast<double>(file.bytes)),
                " cannot hold; the file is damaged or was never filled");
  }
}

/// The strings of variable length in chunks that only the library finds.
void check_text_chunks(const OpenFile& file, const std::string& name, hid_t id, haddr_t address,
                       const Storage& storage) {
  if (!file.structure || !file.structure->awaits_chunks(address)) return;
  const Hdf5Info what = info_of(file, name, id);
  // Texts of other shapes are never read.
  if (what.shape.size() != 1 || !storage.chunk || storage.chunk->size() != 1) return;
  const auto step = static_cast<hsize_t>(storage.chunk->front());
  if (step == 0) return;
  for (hsize_t row = 0; row < static_cast<hsize_t>(what.rows()); row += step) {
    unsigned skipped = 0;
    haddr_t begin = HADDR_UNDEF;
    hsize_t bytes = 0;
    if (H5Dget_chunk_info_by_coord(id, &row, &skipped, &begin, &bytes) < 0)
      file.fail_reading(name, "finding its chunks");
    if (begin == HADDR_UNDEF) continue;
    if (bytes > static_cast<hsize_t>(file.bytes)) {
      throw Error(Cause::data, file.at(name), ": a chunk of ", bytes, " bytes in a file of ",
                  file.bytes, "; the file is damaged");
    }
    std::string stored(bytes, '\0');
    std::uint32_t mask = 0;
    if (H5Dread_chunk(id, H5P_DEFAULT, &row, &mask, stored.data()) < 0)
      file.fail_reading(name, "reading a chunk");
    file.structure->check_text_chunk(address, stored, mask);
  }
}

/// Keeps a dataset open, opened again with a cache of some chunks: HDF5's default of 1 MiB holds
/// none of a wide dataset, and each row that is read would then take its whole chunk through the
/// filters.
hid_t keep(OpenFile& file, const std::string& name, const std::string& path, Handle opened,
           const Storage& storage) {
  if (storage.chunk) {
    std::size_t chunk_bytes = stored_element_bytes(file, name, opened.id());
    for (const std::int64_t size : *storage.chunk) chunk_bytes *= static_cast<std::size_t>(size);
    const Handle access = property_list(H5P_DATASET_ACCESS);
    must(
        "H5Pset_chunk_cache",
        H5Pset_chunk_cache(access.id(), 521, std::max<std::size_t>(1 << 20, 2 * chunk_bytes), 1.0));
    opened = Handle();
    opened = Handle(H5Dopen2(file.id, path.c_str(), access.id()), H5Dclose);
    if (!opened.ok()) file.fail_reading(name, "opening the dataset");
  }
  return file.datasets.insert_or_assign(name, std::move(opened)).first->second.id();
}

/// The shape of a chunk of compressed rows of about kChunkBytes.
std::vector<hsize_t> chunk_of(const std::vector<hsize_t>& sizes, std::size_t element_bytes) {
  std::vector<hsize_t> chunk = sizes;
  auto row_bytes = static_cast<std::int64_t>(element_bytes);
  for (std::size_t i = 1; i < chunk.size(); ++i) row_bytes *= static_cast<std::int64_t>(chunk[i]);
  const auto rows = static_cast<hsize_t>(std::max<std::int64_t>(1, kChunkBytes / row_bytes));
  chunk[0] = std::min(rows, sizes[0]);
  return chunk;
}

/// Calls use(memory space, file space) with the rows selected; not at all if there is nothing in
/// them.
template <typename Use>
void with_rows(const OpenFile& file, const std::string& name, hid_t id, const Hdf5Info& what,
               Range rows, const Use& use) {
  if (rows.size() == 0 || what.row_elements() == 0) return;
  std::vector<hsize_t> start(what.shape.size(), 0);
  std::vector<hsize_t> count(what.shape.begin(), what.shape.end());
  start[0] = static_cast<hsize_t>(rows.begin);
  count[0] = static_cast<hsize_t>(rows.size());
  const Handle space = file.held(name, H5Dget_space(id), H5Sclose);
  must("H5Sselect_hyperslab", H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr,
                                                  count.data(), nullptr));
  const Handle memory = space_of(count);
  use(memory.id(), space.id());
}

}  // namespace

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
  const std::size_t size = H5Tget_size(type);  // 0, which is none of ours, where it fails
  switch (must("H5Tget_class", H5Tget_class(type))) {
    case H5T_STRING:
      return Hdf5Type::text;
    case H5T_INTEGER:
      if (must("H5Tget_sign", H5Tget_sign(type)) == H5T_SGN_NONE) {
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

hid_t dataset(OpenFile& file, const std::string& name) {
  const auto known = file.datasets.find(name);
  if (known != file.datasets.end()) return known->second.id();
  const std::optional<Object> found = find(file, name);
  if (!found) {
    throw Error(Cause::data, file.at(name), ": no such dataset", not_there(file, name));
  }
  if (found->type != H5O_TYPE_DATASET) {
    throw Error(Cause::data, file.at(name), ": expected a dataset, got a ",
                found->type == H5O_TYPE_GROUP ? "group" : "type");
  }
  Handle opened(H5Dopen2(file.id, found->name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!opened.ok()) file.fail_reading(name, "opening the dataset");
  const Storage storage = storage_of(file, name, opened.id());
  check_filters(file, name, storage);
  check_size(file, name, opened.id(), storage);
  check_text_chunks(file, name, opened.id(), found->address, storage);
  return keep(file, name, found->name, std::move(opened), storage);
}

Hdf5Info info_of(const OpenFile& file, const std::string& name, hid_t id) {
  Hdf5Info info;
  const Handle type = file.held(name, H5Dget_type(id), H5Tclose);
  info.type = classify(type.id());
  const Handle space = file.held(name, H5Dget_space(id), H5Sclose);
  hsize_t sizes[H5S_MAX_RANK];
  const int rank = H5Sget_simple_extent_dims(space.id(), sizes, nullptr);
  if (rank < 0) file.fail_reading(name, "reading its shape");
  info.shape.assign(sizes, sizes + rank);
  return info;
}

Hdf5Info expect(OpenFile& file, const std::string& name, Hdf5Type wanted) {
  Hdf5Info what = info_of(file, name, dataset(file, name));
  if (!readable_as(what.type, wanted)) {
    throw Error(Cause::data, file.at(name), ": expected ", name_of(wanted), ", got ",
                name_of(what.type));
  }
  return what;
}

std::size_t stored_element_bytes(const OpenFile& file, const std::string& name, hid_t id) {
  const Handle type = file.held(name, H5Dget_type(id), H5Tclose);
  const std::size_t bytes = H5Tget_size(type.id());
  if (bytes == 0) file.fail_reading(name, "reading its type");
  return bytes;
}

void check_rows(const OpenFile& file, const std::string& name, const Hdf5Info& what, Range rows) {
  if (what.shape.empty()) {
    throw Error(Cause::data, file.at(name), ": expected rows, got a single value");
  }
  if (rows.begin < 0 || rows.end < rows.begin || rows.end > what.rows()) {
    throw Error(Cause::data, file.at(name), ": rows ", rows.begin, " to ", rows.end,
                " asked for, but it has ", what.rows(), " rows");
  }
}

void make_dataset(OpenFile& file, const std::string& name, hid_t type,
                  const std::vector<std::int64_t>& shape, bool compress, Fill fill) {
  file.check_writable(name);
  CHECK(!shape.empty() && std::ranges::all_of(shape, [](auto size) { return size >= 0; }))
      << file.at(name) << ": cannot make a dataset of shape " << shape_text(shape);
  refuse_existing(file, name);
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const Handle plist = property_list(H5P_DATASET_CREATE);
  // Equal contents make equal files.
  must("H5Pset_obj_track_times", H5Pset_obj_track_times(plist.id(), false));
  const bool has_elements = std::ranges::find(shape, 0) == shape.end();
  if (fill != Fill::by_caller && has_elements) {
    // In the file at once: a reader refuses a dataset that is larger than what its file holds.
    must("H5Pset_alloc_time", H5Pset_alloc_time(plist.id(), H5D_ALLOC_TIME_EARLY));
    must("H5Pset_fill_time",
         H5Pset_fill_time(plist.id(),
                          fill == Fill::zeros ? H5D_FILL_TIME_ALLOC : H5D_FILL_TIME_NEVER));
  }
  if (compress && has_elements) {
    const std::vector<hsize_t> chunk = chunk_of(sizes, H5Tget_size(type));
    must("H5Pset_chunk", H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data()));
    must("H5Pset_shuffle", H5Pset_shuffle(plist.id()));
    must("H5Pset_deflate", H5Pset_deflate(plist.id(), ChunkPacker::kLevel));
  }
  const Handle links = with_groups_on_the_way();
  const Handle space = space_of(sizes);
  Handle made(
      H5Dcreate2(file.id, name.c_str(), type, space.id(), links.id(), plist.id(), H5P_DEFAULT),
      H5Dclose);
  if (!made.ok()) file.fail_writing(name);
  const Storage storage = storage_of(file, name, made.id());
  keep(file, name, name, std::move(made), storage);
  // Strings of variable length lie elsewhere, where the library has to put them.
  if (!compress || !has_elements || is_variable_text(type)) return;
  const std::size_t element_bytes = H5Tget_size(type);
  const auto row_bytes =
      element_bytes * static_cast<std::size_t>(Hdf5Info{{}, shape}.row_elements());
  file.packed.insert_or_assign(
      name, PackedRows({shape[0], storage.chunk->front(), row_bytes, element_bytes}));
}

void read_rows(OpenFile& file, const std::string& name, hid_t type, const Hdf5Info& what,
               Range rows, void* out) {
  const hid_t id = dataset(file, name);
  with_rows(file, name, id, what, rows, [&](hid_t memory, hid_t space) {
    if (H5Dread(id, type, memory, space, H5P_DEFAULT, out) < 0) file.fail_reading(name, "reading");
  });
}

void write_rows(OpenFile& file, const std::string& name, hid_t type, const Hdf5Info& what,
                Range rows, const void* values) {
  const hid_t id = dataset(file, name);
  const auto packed = file.packed.find(name);
  if (packed != file.packed.end()) {
    std::vector<hsize_t> offset(what.shape.size(), 0);
    packed->second.write(
        rows, static_cast<const char*>(values), [&](std::int64_t first, std::string_view bytes) {
          offset[0] = static_cast<hsize_t>(first);
          if (H5Dwrite_chunk(id, H5P_DEFAULT, 0, offset.data(), bytes.size(), bytes.data()) < 0)
            file.fail_writing(name);
        });
    return;
  }
  with_rows(file, name, id, what, rows, [&](hid_t memory, hid_t space) {
    if (H5Dwrite(id, type, memory, space, H5P_DEFAULT, values) < 0) file.fail_writing(name);
  });
}

}  // namespace hdf5

using hdf5::absolute;
using hdf5::library_mutex;
using hdf5::Lock;
using hdf5::memory_type;

const char* name_of(Hdf5Type type) {
  constexpr std::array<const char*, 8> kNames = {"int32",   "int64", "uint8",   "float32",
                                                 "float64", "text",  "float16", "another type"};
  return kNames[static_cast<std::size_t>(type)];
}

std::int64_t Hdf5Info::row_elements() const {
  std::int64_t all = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) all *= shape[i];
  return all;
}

Hdf5Info Hdf5File::info(const std::string& dataset) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  return hdf5::info_of(*file_, name, hdf5::dataset(*file_, name));
}

std::vector<std::int64_t> Hdf5File::expect_shape(const std::string& dataset,
                                                 const std::vector<std::int64_t>& expected) const {
  const std::vector<std::int64_t> shape = info(dataset).shape;
  const bool fits =
      std::equal(shape.begin(), shape.end(), expected.begin(), expected.end(),
                 [](std::int64_t got, std::int64_t want) { return want == -1 || got == want; });
  if (!fits) {
    throw Error(Cause::data, file_->at(absolute(dataset)), ": expected shape ",
                shape_text(expected), ", got ", shape_text(shape));
  }
  return shape;
}

std::optional<std::int64_t> Hdf5File::offset_in_file(const std::string& dataset) const {
  const Lock lock(library_mutex());
  const haddr_t offset = H5Dget_offset(hdf5::dataset(*file_, absolute(dataset)));
  if (offset == HADDR_UNDEF) return std::nullopt;
  return static_cast<std::int64_t>(offset);
}

void Hdf5File::write_numbers(const std::string& dataset, Hdf5Type type, const void* values,
                             const std::vector<std::int64_t>& shape, const Hdf5Storage& storage) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  hdf5::make_dataset(*file_, name, memory_type(type), shape, storage.compress,
                     hdf5::Fill::by_caller);
  hdf5::write_rows(*file_, name, memory_type(type), Hdf5Info{type, shape}, {0, shape[0]}, values);
}

void Hdf5File::reserve_numbers(const std::string& dataset, Hdf5Type type,
                               const std::vector<std::int64_t>& shape, const Hdf5Storage& storage) {
  const Lock lock(library_mutex());
  hdf5::make_dataset(*file_, absolute(dataset), memory_type(type), shape, storage.compress,
                     storage.compress ? hdf5::Fill::by_caller
                     : storage.zeros  ? hdf5::Fill::zeros
                                      : hdf5::Fill::by_caller_later);
}

void Hdf5File::write_number_rows(const std::string& dataset, Hdf5Type type, Range rows,
                                 const void* values) {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  file_->check_writable(name);
  const Hdf5Info what = hdf5::expect(*file_, name, type);
  hdf5::check_rows(*file_, name, what, rows);
  hdf5::write_rows(*file_, name, memory_type(type), what, rows, values);
}

void Hdf5File::read_number_rows(const std::string& dataset, Hdf5Type type, Range rows,
                                void* out) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const Hdf5Info what = hdf5::expect(*file_, name, type);
  hdf5::check_rows(*file_, name, what, rows);
  hdf5::read_rows(*file_, name, memory_type(type), what, rows, out);
}

}  // namespace micrec
