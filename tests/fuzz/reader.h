#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace micrec::fuzz {

/// A reader of bytes that a user, a disk or a crash has had in hand.
struct Reader {
  const char* name;       // of its folder of seeds
  const char* file_name;  // of its input: the ending may tell the reader what kind of file it is
  int variants = 1;       // ways to read it, each is tried
  bool is_usage = false;  // what is wrong in the file is the user's flags, exit code 2

  /// Reads the file whole and returns, or throws micrec::Error. std::logic_error: the reader gave
  /// something that it should not, and the text says what.
  void (*read)(const std::string& path, int variant) = nullptr;
};

const Reader& csv();
const Reader& tsv();
const Reader& json();
const Reader& adjacency();
const Reader& gzip();
const Reader& npy();
const Reader& keys();
const Reader& features();
const Reader& dataset();
const Reader& partition();
const Reader& manifest();
const Reader& best();
const Reader& shard();
const Reader& coefficients();
const Reader& metrics();
const Reader& flagfile();
const Reader& attributes();
const Reader& where();
const Reader& observed();
const Reader& requests();

/// What a reader did that it must not do with these bytes, or "". It keeps its promise where it
/// returns or throws micrec::Error of a cause that is the file's, with a message of one short line
/// that names the file. A crash, a hang and memory without bound are for the caller to see.
///
/// Errors   CHECK where the file cannot be written to the temporary folder.
std::string complaint(const Reader& reader, const std::uint8_t* bytes, std::size_t size);

/// Calls read(fill) for two contents of the memory that it is to fill, and throws std::logic_error
/// where the results differ: then some of it was never written.
template <typename Read>
void expect_all_written(const char* what, const Read& read) {
  if (read(std::uint8_t{0}) != read(std::uint8_t{0x7F})) {
    throw std::logic_error(std::string(what) + " was returned without being written");
  }
}

}  // namespace micrec::fuzz
