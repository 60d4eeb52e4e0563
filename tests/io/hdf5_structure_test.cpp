#include "io/hdf5_structure/hdf5_structure.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/hdf5.h"
#include "tests/io/files.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

/// A file with each kind of structure that this program writes.
std::string write(const TemporaryFolder& folder) {
  const std::string path = folder / "whole.h5";
  Hdf5File file = Hdf5File::create(path);
  file.write_text("/a/fixed", {"one", "two", "six"});
  file.write_text("/a/b/variable", {"", "short", std::string(300, 'x')});
  file.write("/packed", std::vector<std::int32_t>(100, 7), {.compress = true});
  file.write("/plain", std::vector<std::int64_t>{1, 2, 3});
  file.set_attribute("/", "format", "a text of variable length");
  file.set_attribute("/a", "number", std::int64_t{5});
  file.close();
  Hdf5Edit(path).add_chunked("/a/chunks", {1, 2, 3, 4}, 2, 4);
  return path;
}

void read_each_dataset(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  file.text_attribute("/", "format");
  file.integer_attribute("/a", "number");
  file.children("/a");
  file.read_text("/a/fixed");
  file.read_text("/a/b/variable");
  file.read<float>("/a/chunks");
  file.read<std::int32_t>("/packed");
  file.read<std::int64_t>("/plain");
}

TEST(Hdf5Structure, OfAWholeFileIsAccepted) {
  const TemporaryFolder folder;
  EXPECT_NO_THROW(Hdf5Structure(write(folder)));
  EXPECT_NO_THROW(read_each_dataset(folder / "whole.h5"));
}

TEST(Hdf5Structure, IsLeftToTheLibraryWhereThereIsNone) {
  const TemporaryFolder folder;
  EXPECT_NO_THROW(Hdf5Structure(folder.write("empty", "")));
  EXPECT_NO_THROW(Hdf5Structure(folder.write("text", std::string(5000, 'x'))));
  const std::string whole = file_contents(write(folder));
  EXPECT_NO_THROW(Hdf5Structure(folder.write("cut", whole.substr(0, whole.size() - 1))));
  expect_error(Cause::io, {"nowhere"}, [&] { Hdf5Structure{folder / "nowhere"}; });
}

TEST(Hdf5Structure, IsRefusedWhereAStringIsNotInItsHeap) {
  const TemporaryFolder folder;
  std::string bytes = file_contents(write(folder));
  const std::size_t heap = bytes.find("GCOL");
  ASSERT_NE(heap, std::string::npos);
  bytes[heap + 16 + 8 + 2] = '\x7F';  // the length of its first object
  const std::string path = folder.write("heap.h5", bytes);
  expect_error(Cause::data, {path, "damaged near byte", "global heap", "make or fetch it again"},
               [&] { Hdf5File::open(path); });
}

TEST(Hdf5Structure, IsRefusedWhereANameCouldNotBePrinted) {
  const TemporaryFolder folder;
  const std::string whole = file_contents(write(folder));
  const std::size_t name = whole.find("packed");
  ASSERT_NE(name, std::string::npos);
  for (const char letter : {'\xEF', '\n'}) {
    std::string bytes = whole;
    bytes[name] = letter;
    const std::string path = folder.write("name.h5", bytes);
    expect_error(Cause::data, {path, "no printable UTF-8"}, [&] { Hdf5File::open(path); });
  }
}

// Its bytes have been compared with a digest, so there is nothing to find.
TEST(Hdf5Structure, OfAVerifiedFileIsNotFollowed) {
  const TemporaryFolder folder;
  std::string bytes = file_contents(write(folder));
  bytes.at(bytes.find("packed")) = '\n';
  const std::string path = folder.write("name.h5", bytes);
  expect_error(Cause::data, {path, "no printable UTF-8"}, [&] { Hdf5File::open(path); });
  const Hdf5File file = Hdf5File::open(path, Hdf5Content::verified);
  EXPECT_EQ(file.read<std::int64_t>("/plain"), (std::vector<std::int64_t>{1, 2, 3}));
}

// The library copies as many bytes as the shape of a chunk has, however few its filters gave.
TEST(Hdf5Structure, IsRefusedWhereAChunkIsNotOfItsShape) {
  const TemporaryFolder folder;
  const std::string whole = file_contents(write(folder));
  const auto expect_refused = [&](std::size_t at, char value, const char* what) {
    std::string bytes = whole;
    bytes.at(at) = value;
    const std::string path = folder.write("chunk.h5", bytes);
    expect_error(Cause::data, {path, "damaged near byte", what}, [&] { Hdf5File::open(path); });
  };
  const std::size_t rows = whole.find(std::string("\x64\0\0\0\x04\0\0\0", 8));  // of /packed
  ASSERT_NE(rows, std::string::npos);
  expect_refused(rows, '\xC8', "a chunk of a wrong size");
  expect_refused(rows + 2, '\x7F', "a chunk that is larger than its bytes can be");
  // Its B-tree, the last that is written before that of /a/chunks, says that the chunk was left as
  // it is.
  const std::string mark("TREE\x01\x00", 6);
  const std::size_t tree = whole.rfind(mark, whole.rfind(mark) - 1);
  ASSERT_NE(tree, std::string::npos);
  expect_refused(tree + 24 + 4, '\x03', "a chunk of another size than its shape");
}

// The library itself crashes, hangs or takes all memory on some of these.
TEST(Hdf5Structure, NoTurnedByteIsMoreThanAnError) {
  const TemporaryFolder folder;
  const std::string whole = file_contents(write(folder));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    // The unused space of the file's blocks, of which one byte is as good as another.
    if (at > 64 && at % 16 != 5 && whole.substr(at - 64, 128) == std::string(128, '\0')) continue;
    constexpr unsigned char kTurned[] = {0x01, 0x80, 0xFF};
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ kTurned[at % 3]);
    const std::string path = folder.write("turned.h5", bytes);
    try {
      read_each_dataset(path);
    } catch (const Error& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refused, 300U);
}

}  // namespace
}  // namespace micrec
