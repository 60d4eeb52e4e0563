#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/ids.h"

namespace micrec {

/// Element type of a dataset. `float16` and `other` are met in files of other programs only;
/// float16 is read as float.
enum class Hdf5Type { int32, int64, uint8, float32, float64, text, float16, other };
const char* name_of(Hdf5Type type);

template <typename T>
concept Hdf5Number = std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t> ||
    std::is_same_v<T, std::uint8_t> || std::is_same_v<T, float> || std::is_same_v<T, double>;

template <Hdf5Number T>
constexpr Hdf5Type hdf5_type_of() {
  if constexpr (std::is_same_v<T, std::int32_t>) return Hdf5Type::int32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Hdf5Type::int64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return Hdf5Type::uint8;
  if constexpr (std::is_same_v<T, float>) return Hdf5Type::float32;
  if constexpr (std::is_same_v<T, double>) return Hdf5Type::float64;
}

/// What a dataset is.
struct Hdf5Info {
  Hdf5Type type = Hdf5Type::other;
  std::vector<std::int64_t> shape;  // empty for a scalar

  std::int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  /// Elements of one row: the product of all dimensions but the first.
  std::int64_t row_elements() const;
};

/// How a new dataset lies in its file.
struct Hdf5Storage {
  bool compress = false;  ///< shuffle and gzip, in pieces of about 256 KiB; the caller writes
                          ///< every row, front to back
  bool zeros = true;      ///< reserve() writes zeros; without, the caller writes every row
};

/// What is known of a file before it is opened.
enum class Hdf5Content {
  foreign,   ///< nothing: the structure is checked before the library follows it
  verified,  ///< every byte is one that this program wrote, by a digest: there is nothing to check
};

namespace hdf5 {
struct OpenFile;
}

/// An HDF5 file. Names are paths from the root ("/domains/food/users/key"); groups on the way to a
/// new dataset are made. "Rows" are the first dimension of a dataset.
///
/// Any number of threads may use any number of files: the HDF5 library is one process-wide state
/// that is not safe for threads as Debian builds it, so all calls pass one mutex.
///
/// Ranks    local. Many ranks may read one file; a file that is written belongs to one rank.
///
/// Errors   Error(Cause::io) where the file cannot be opened, read or written (the disk is full);
///          Error(Cause::data) where it is not HDF5 or is cut off, or where a dataset or attribute
///          is missing, exists already, or has another type or shape than asked for. Both name file
///          and dataset. Sizes read from a file are compared with the size of the file before
///          memory is taken, and the structure of a foreign file is checked before the library
///          follows it, which crashes on some damaged files (io/hdf5_structure/hdf5_structure.h
///          tells what is left). What is in other files (external links, virtual datasets, external
///          elements) or newer than HDF5 1.10 is Error(Cause::data) for whoever asks for it by its
///          name; soft links are followed.
class Hdf5File {
 public:
  /// A new file; one that exists is replaced. Several threads pack what is compressed in it, with
  /// the same result for any number of them.
  static Hdf5File create(const std::string& path);
  /// An existing file, for reading.
  static Hdf5File open(const std::string& path, Hdf5Content content = Hdf5Content::foreign);
  /// Whether a file can be read and is in another format; it need not be whole to be HDF5.
  static bool is_another_format(const std::string& path);

  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) noexcept;
  /// Closes the file. A failure is only logged, so whoever writes calls close() to hear of a full
  /// disk.
  ~Hdf5File();

  const std::string& path() const;
  /// Flushes and closes; only path() and destruction are allowed afterwards.
  void close();

  // --- What is there ---

  bool exists(const std::string& name) const;      ///< a group or a dataset
  bool is_dataset(const std::string& name) const;  ///< false where there is nothing
  /// Names in a group, without its path, sorted.
  std::vector<std::string> children(const std::string& group) const;
  Hdf5Info info(const std::string& dataset) const;
  /// The shape of a dataset, after comparing it with `expected`, where -1 stands for any size.
  std::vector<std::int64_t> expect_shape(const std::string& dataset,
                                         const std::vector<std::int64_t>& expected) const;

  /// Where in the file the elements of a dataset lie, one after the other; nothing where they are
  /// in chunks, or where there are none.
  std::optional<std::int64_t> offset_in_file(const std::string& dataset) const;

  // --- Numbers ---
  // Integers are read from narrower integers too, and floats from any floats (rounded); nothing
  // else converts.

  /// A new dataset with these values. values: (product of shape), row by row.
  template <Hdf5Number T>
  void write(const std::string& dataset, const T* values, const std::vector<std::int64_t>& shape,
             const Hdf5Storage& storage = {}) {
    write_numbers(dataset, hdf5_type_of<T>(), values, shape, storage);
  }
  template <Hdf5Number T>
  void write(const std::string& dataset, const std::vector<T>& values,
             const Hdf5Storage& storage = {}) {
    write(dataset, values.data(), {std::ssize(values)}, storage);
  }

  /// A new dataset of zeros (Hdf5Storage), to be filled by write_rows().
  template <Hdf5Number T>
  void reserve(const std::string& dataset, const std::vector<std::int64_t>& shape,
               const Hdf5Storage& storage = {}) {
    reserve_numbers(dataset, hdf5_type_of<T>(), shape, storage);
  }
  /// Overwrites rows [rows.begin, rows.end). values: (rows.size() * row_elements).
  template <Hdf5Number T>
  void write_rows(const std::string& dataset, Range rows, const T* values) {
    write_number_rows(dataset, hdf5_type_of<T>(), rows, values);
  }

  /// All elements, row by row.
  template <Hdf5Number T>
  std::vector<T> read(const std::string& dataset) const {
    const Hdf5Info what = info(dataset);
    std::vector<T> values(static_cast<std::size_t>(what.rows() * what.row_elements()));
    read_rows(dataset, Range{0, what.rows()}, values.data());
    return values;
  }
  /// Rows [rows.begin, rows.end) into out: (rows.size() * row_elements).
  template <Hdf5Number T>
  void read_rows(const std::string& dataset, Range rows, T* out) const {
    read_number_rows(dataset, hdf5_type_of<T>(), rows, out);
  }

  // --- Strings: UTF-8, one dimension, without zero bytes ---

  /// A new dataset; fixed width where that is not wasteful, else of variable length.
  void write_text(const std::string& dataset, const std::vector<std::string>& values,
                  const Hdf5Storage& storage = {});
  std::vector<std::string> read_text(const std::string& dataset) const;

  // --- Groups and attributes ---
  // `object` is a group or a dataset, "/" for the file itself. Setting replaces.

  void make_group(const std::string& group);
  bool has_attribute(const std::string& object, const std::string& name) const;
  void set_attribute(const std::string& object, const std::string& name, const std::string& value);
  void set_attribute(const std::string& object, const std::string& name, const char* value) {
    set_attribute(object, name, std::string(value));
  }
  void set_attribute(const std::string& object, const std::string& name, std::int64_t value);
  void set_attribute(const std::string& object, const std::string& name, int value) {
    set_attribute(object, name, static_cast<std::int64_t>(value));
  }
  void set_attribute(const std::string& object, const std::string& name, double value);
  std::string text_attribute(const std::string& object, const std::string& name) const;
  std::int64_t integer_attribute(const std::string& object, const std::string& name) const;
  double number_attribute(const std::string& object, const std::string& name) const;

 private:
  explicit Hdf5File(std::unique_ptr<hdf5::OpenFile> file);

  void write_numbers(const std::string& dataset, Hdf5Type type, const void* values,
                     const std::vector<std::int64_t>& shape, const Hdf5Storage& storage);
  void reserve_numbers(const std::string& dataset, Hdf5Type type,
                       const std::vector<std::int64_t>& shape, const Hdf5Storage& storage);
  void write_number_rows(const std::string& dataset, Hdf5Type type, Range rows, const void* values);
  void read_number_rows(const std::string& dataset, Hdf5Type type, Range rows, void* out) const;

  std::unique_ptr<hdf5::OpenFile> file_;
};

}  // namespace micrec
