#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace micrec {

/// A file of the system that is open until this goes, or none. Calls that a signal interrupts are
/// made again; what they return otherwise, and errno, is the system's.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const std::string& path, int flags);
  Descriptor(Descriptor&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Descriptor() { close(); }

  int id() const { return id_; }
  bool ok() const { return id_ >= 0; }

  /// Bytes that were read, 0 at the end of the file, negative where it cannot be read.
  std::int64_t read(char* out, std::size_t size) const;
  /// The same from an offset on, `size` bytes unless the file ends; threads may share the file.
  std::int64_t read_at(std::int64_t offset, char* out, std::size_t size) const;
  /// Whether all was written.
  bool write(std::string_view contents) const;
  /// Whether the contents are on the disk. Some network file systems cannot sync a directory; its
  /// rename has been done all the same.
  bool sync() const;
  /// False where the system could not keep what was written.
  bool close();

 private:
  int id_ = -1;
};

}  // namespace micrec
