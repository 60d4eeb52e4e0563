#include "io/hdf5_structure/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace micrec::hdf5_structure {
namespace {

// Without a checksum an unknown version is damage unless it is one of the next few.
constexpr std::uint64_t kVersionsToCome = 3;

}  // namespace

File::File(const std::string& path) : path_(path), descriptor_(path, O_RDONLY) {
  struct stat status {};
  if (!descriptor_.ok() || fstat(descriptor_.id(), &status) != 0)
    throw Error(Cause::io, path, ": cannot be opened: ", std::strerror(errno));
  bytes_ = static_cast<std::uint64_t>(status.st_size);
}

std::string File::read(std::uint64_t address, std::uint64_t size, const char* what) const {
  if (!holds(address, size))
    fail(address, text(what, " of ", size, " bytes does not fit into the file"));
  std::string all(size, '\0');
  const auto place = static_cast<std::int64_t>(base_ + address);
  const std::int64_t got = descriptor_.read_at(place, all.data(), size);
  if (got < 0) throw Error(Cause::io, path_, ": cannot be read: ", std::strerror(errno));
  if (got < static_cast<std::int64_t>(size)) fail(address, text(what, " is cut off"));
  return all;
}

void File::fail(std::uint64_t address, const std::string& what) const {
  throw Error(Cause::data, path_, ": damaged near byte ", in_file(address), ": ", what,
              "; make or fetch it again");
}

void File::refuse(const std::string& what) const { throw Error(Cause::data, path_, " ", what); }

std::uint64_t Cursor::number(std::size_t size) {
  const std::string_view digits = take(size);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value |= std::uint64_t{static_cast<unsigned char>(digits[i])} << (8 * i);
  return value;
}

std::string_view Cursor::take(std::uint64_t size) {
  if (size > left()) fail("ends too early");
  const std::string_view taken = bytes_.substr(at_, size);
  at_ += size;
  return taken;
}

void Cursor::skip_name(std::size_t padding) {
  const std::size_t end = bytes_.find('\0', at_);
  if (end == std::string_view::npos) fail("has a name without an end");
  const std::size_t size = end + 1 - at_;
  skip((size + padding - 1) / padding * padding);
}

Cursor Cursor::part(std::uint64_t size, const char* what) {
  const std::uint64_t begin = address_ + at_;
  return {*file_, begin, take(size), what, checksum_};
}

void Cursor::expect_at(std::uint64_t address, const char* signature) const {
  constexpr std::uint64_t kLeastBytes = 28;  // of a header that begins so, with its checksum
  if (address == kUndefined) return;
  expect(file_->holds(address, kLeastBytes) && file_->read(address, 4, "a signature") == signature,
         "leads to something else than it says");
}

void Cursor::expect_version(std::uint64_t version, std::uint64_t least, std::uint64_t most,
                            const char* what) const {
  if (least <= version && version <= most) return;
  if (checksum_ == Checksum::none && (version < least || version > most + kVersionsToCome))
    fail(text("is ", what, " of an unknown version"));
  newer(text("version ", version, " of ", what));
}

void Cursor::newer(const std::string& what) const {
  throw Foreign{text("is laid out in a way that is newer than HDF5 1.10 reads: ", what,
                     " near byte ", file_->in_file(position()),
                     checksum_ == Checksum::none ? ", if it is not damaged there" : "",
                     "; write it again with h5py.File(NAME, 'w', libver=('earliest', 'v110')), "
                     "or convert the file by the newer library's h5repack --low=0 --high=2")};
}

void Cursor::fail(const std::string& what) const {
  file_->fail(position(), text(what_, " ", what));
}

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

std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t all = 0;
  if (__builtin_mul_overflow(a, b, &all)) return std::nullopt;
  return all;
}

}  // namespace micrec::hdf5_structure
