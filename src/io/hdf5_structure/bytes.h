#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "io/descriptor.h"

namespace micrec::hdf5_structure {

// What the files of this folder share. Names and numbers are those of the "HDF5 File Format
// Specification Version 3.0".

inline constexpr std::uint64_t kUndefined = std::numeric_limits<std::uint64_t>::max();
inline constexpr int kMostDimensions = 32;

/// The bytes of a file, by addresses as its structure has them.
class File {
 public:
  explicit File(const std::string& path);
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
  std::string read(std::uint64_t address, std::uint64_t size, const char* what) const;
  /// The byte of the file at an address.
  std::uint64_t in_file(std::uint64_t address) const { return base_ + address; }

  [[noreturn]] void fail(std::uint64_t address, const std::string& what) const;
  /// For what is in order and yet nothing that this program reads.
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  std::string path_;
  Descriptor descriptor_;
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

/// Bytes of the file, decoded from the front; going past their end is damage.
class Cursor {
 public:
  Cursor(const File& file, std::uint64_t address, std::string_view bytes, const char* what,
         Checksum checksum = Checksum::none)
      : file_(&file), address_(address), bytes_(bytes), what_(what), checksum_(checksum) {}

  std::uint64_t number(std::size_t size);
  std::uint64_t address() { return number(8); }
  std::string_view take(std::uint64_t size);
  void skip(std::uint64_t size) { take(size); }
  /// A text that ends with a zero byte, padded to a multiple of `padding` bytes.
  void skip_name(std::size_t padding);
  /// The next bytes as a cursor of their own.
  Cursor part(std::uint64_t size, const char* what);

  const File& file() const { return *file_; }
  std::uint64_t left() const { return bytes_.size() - at_; }
  std::uint64_t position() const { return address_ + at_; }

  void expect(bool right, const char* what) const {
    if (!right) fail(what);
  }
  /// That there is nothing or something that begins so at an address.
  void expect_at(std::uint64_t address, const char* signature) const;
  /// Versions of `what` that are read are `least` to `most`.
  ///
  /// Errors   Foreign where it is one of a newer library, damage where it is none.
  void expect_version(std::uint64_t version, std::uint64_t least, std::uint64_t most,
                      const char* what) const;
  [[noreturn]] void newer(const std::string& what) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const File* file_;
  std::uint64_t address_;
  std::string_view bytes_;
  const char* what_;
  Checksum checksum_;
  std::size_t at_ = 0;
};

/// The checksum of HDF5's metadata: Bob Jenkins' lookup3, little-endian, beginning with 0.
std::uint32_t checksum_of(std::string_view bytes);

/// Nothing where it does not fit.
std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b);

}  // namespace micrec::hdf5_structure
