#include "io/durable_files.h"

#include <filesystem>

#include "files.h"

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
  TemporaryFolder::write_plain(folder / "file", "x");
  expect_error([&] { make_directory_durably(folder / "file"); }, Cause::io, {folder / "file"});
  expect_error([&] { make_directory_durably(folder / "file/a"); }, Cause::io, {folder / "file"});
}

TEST(DurableFiles, ReplacesContentsAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  replace_file_durably(folder / "f", "first");
  replace_file_durably(folder / "f", "second");
  EXPECT_EQ(read_small_file(folder / "f", 6), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), {}), 1);
  expect_error([&] { read_small_file(folder / "f", 5); }, Cause::io, {folder / "f"});
  expect_error([&] { replace_file_durably(folder / "missing/f", ""); }, Cause::io,
               {"No such file", folder / "missing/f"});
}

TEST(DurableFiles, RenamesOverADirectoryThatExists) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "from");
  TemporaryFolder::write_plain(folder / "from/x", "new");
  EXPECT_FALSE(rename_directory_durably(folder / "from", folder / "to"));
  fs::create_directory(folder / "from");
  TemporaryFolder::write_plain(folder / "from/x", "newer");
  EXPECT_TRUE(rename_directory_durably(folder / "from", folder / "to"));
  EXPECT_EQ(TemporaryFolder::read(folder / "to/x"), "newer");
  EXPECT_EQ(TemporaryFolder::read(folder / "from/x"), "new");
}

TEST(DurableFiles, DigestsAsXxh128sumPrints) {
  // The published digests of XXH3-128 with seed 0 for no input.
  EXPECT_EQ(digest_bytes(""), "99aa06d3014798d86001c324468d497f");
  const TemporaryFolder folder;
  std::string large(3'000'001, 'x');
  large[1'500'000] = 'y';
  TemporaryFolder::write_plain(folder / "f", large);
  const FileDigest digest = digest_file(folder / "f");
  EXPECT_EQ(digest.bytes, 3'000'001);
  EXPECT_EQ(digest.xxh3_128, digest_bytes(large));
  expect_error([&] { digest_file(folder / "none"); }, Cause::io, {folder / "none"});
}

}  // namespace
}  // namespace micrec
