#include "io/durable_files.h"

#include <algorithm>
#include <filesystem>

#include "tests/io/files.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

TEST(DurableFiles, MakesDirectoriesWithTheirParents) {
  const TemporaryFolder folder;
  make_directory_durably(folder / "a/b/c");
  EXPECT_TRUE(fs::is_directory(folder / "a/b/c"));
  make_directory_durably(folder / "a/b/c/");
}

TEST(DurableFiles, NamesAFileThatStandsInTheWay) {
  const TemporaryFolder folder;
  folder.write("file", "x");
  expect_error(Cause::io, {folder / "file"}, [&] { make_directory_durably(folder / "file"); });
  expect_error(Cause::io, {folder / "file"}, [&] { make_directory_durably(folder / "file/a"); });
}

TEST(DurableFiles, ReplacesContentsAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  replace_file_durably(folder / "f", "first");
  replace_file_durably(folder / "f", "second");
  EXPECT_EQ(read_small_file(folder / "f", 6), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), {}), 1);
  expect_error(Cause::io, {folder / "f"}, [&] { read_small_file(folder / "f", 5); });
  expect_error(Cause::io, {"No such file", folder / "missing/f"},
               [&] { replace_file_durably(folder / "missing/f", ""); });
}

TEST(DurableFiles, RenamesOverADirectoryThatExists) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "from");
  folder.write("from/x", "new");
  EXPECT_FALSE(rename_directory(folder / "from", folder / "to"));
  fs::create_directory(folder / "from");
  folder.write("from/x", "newer");
  EXPECT_TRUE(rename_directory(folder / "from", folder / "to"));
  EXPECT_EQ(file_contents(folder / "to/x"), "newer");
  EXPECT_EQ(file_contents(folder / "from/x"), "new");
}

TEST(DurableFiles, DigestsAsXxh128sumPrints) {
  // The published digests of XXH3-128 with seed 0 for no input.
  EXPECT_EQ(digest_bytes(""), "99aa06d3014798d86001c324468d497f");
  const TemporaryFolder folder;
  std::string large(3'000'001, 'x');
  large[1'500'000] = 'y';
  folder.write("f", large);
  const FileDigest digest = digest_file(folder / "f");
  EXPECT_EQ(digest.bytes, 3'000'001);
  EXPECT_EQ(digest.xxh3_128, digest_bytes(large));
  expect_error(Cause::io, {folder / "none"}, [&] { digest_file(folder / "none"); });
}

// Every block of every part is as if it were a file of its own, whatever lies between.
TEST(DurableFiles, DigestsTheBlocksOfParts) {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 2'500'000; ++i) bytes += static_cast<char>((i * 2654435761U) >> 13);
  folder.write("f", bytes);
  constexpr std::int64_t kBlock = 700'000;
  const std::vector<FilePart> parts = {{1'000'001, 1'400'000}, {3, 1'000}, {1'003, 900'000}};
  const FileDigest digest = digest_file(folder / "f", parts, kBlock);
  EXPECT_EQ(digest.xxh3_128, digest_bytes(bytes));
  ASSERT_EQ(digest.parts.size(), 3U);
  EXPECT_EQ(digest.parts[0].size(), 2 * 16U);
  EXPECT_EQ(digest.parts[1].size(), 16U);
  EXPECT_EQ(digest.parts[2].size(), 2 * 16U);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (std::int64_t at = 0; at < parts[part].bytes; at += kBlock) {
      const std::int64_t size = std::min(kBlock, parts[part].bytes - at);
      folder.write("block", bytes.substr(static_cast<std::size_t>(parts[part].offset + at),
                                         static_cast<std::size_t>(size)));
      const FileDigest alone = digest_file(folder / "block", {{0, size}}, size);
      EXPECT_EQ(digest.parts[part].substr(static_cast<std::size_t>(16 * (at / kBlock)), 16),
                alone.parts[0]);
    }
  }
  // A file that ends within a part has fewer blocks of it.
  folder.write("f", bytes.substr(0, 1'500'000));
  const FileDigest cut = digest_file(folder / "f", parts, kBlock);
  EXPECT_EQ(cut.parts[0].size(), 16U);
  EXPECT_NE(cut.parts[0], digest.parts[0].substr(0, 16));
  EXPECT_EQ(cut.parts[2], digest.parts[2]);
}

TEST(DurableFiles, WritesAFileUnderItsOwnName) {
  const TemporaryFolder folder;
  write_file_durably(folder / "f", "first, longer");
  write_file_durably(folder / "f", "second");
  EXPECT_EQ(read_small_file(folder / "f", 100), "second");
  expect_error(Cause::io, {"No such file", folder / "missing/f"},
               [&] { write_file_durably(folder / "missing/f", ""); });
}

}  // namespace
}  // namespace micrec
