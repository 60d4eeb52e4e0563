#include "io/tables/line_reader.h"

#include "base/text.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

std::vector<std::string> all_lines(const std::string& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  std::string_view line;
  while (reader.next(&line)) {
    lines.emplace_back(line);
    EXPECT_EQ(reader.line_number(), static_cast<std::int64_t>(lines.size()));
  }
  EXPECT_FALSE(reader.next(&line)) << "the end is final";
  return lines;
}

using Lines = std::vector<std::string>;

TEST(LineReader, TakesAnyLineEndAndAnUnfinishedLastLine) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("a", "one\ntwo\r\n\nfour")), (Lines{"one", "two", "", "four"}));
  EXPECT_EQ(all_lines(folder.write("b", "one\n")), (Lines{"one"}));
  EXPECT_EQ(all_lines(folder.write("c", "")), Lines{});
  EXPECT_EQ(all_lines(folder.write("d", "\n\n")), (Lines{"", ""}));
  EXPECT_EQ(all_lines(folder.write("e", "a\rb\r\n")), (Lines{"a\rb"}));
}

TEST(LineReader, TakesCarriageReturnsWhereThereIsNoOtherLineEnd) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("a", "one\rtwo\r\rfour")), (Lines{"one", "two", "", "four"}));
  EXPECT_EQ(all_lines(folder.write("b", "one\rtwo\r")), (Lines{"one", "two"}));
  EXPECT_EQ(all_lines(folder.write("c", "one\r\"t\nw\no\"\r")), (Lines{"one", "\"t\nw\no\""}));
}

TEST(LineReader, TellsHowALineEnded) {
  const TemporaryFolder folder;
  const auto ends = [](const std::string& path) {
    LineReader reader(path);
    std::string_view line;
    Lines all;
    while (reader.next(&line)) all.emplace_back(reader.line_end());
    return all;
  };
  EXPECT_EQ(ends(folder.write("a", "a\nb\r\nc\rd\ne")), (Lines{"\n", "\r\n", "\n", ""}));
  EXPECT_EQ(ends(folder.write("b", "a\rb")), (Lines{"\r", ""}));
}

TEST(LineReader, SkipsAByteOrderMark) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("bom", "\xEF\xBB\xBFone\ntwo")), (Lines{"one", "two"}));
  EXPECT_EQ(all_lines(folder.write("only", "\xEF\xBB\xBF")), Lines{});
}

TEST(LineReader, ReadsGzipAndPlainTextUnderAGzipName) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("a.gz", gzip("one\ntwo"))), (Lines{"one", "two"}));
  folder.write("plain.gz", "one\ntwo");
  EXPECT_EQ(all_lines(folder / "plain.gz"), (Lines{"one", "two"}));
}

TEST(LineReader, GivesLinesThatCrossItsBufferWhole) {
  const TemporaryFolder folder;
  Lines lines;
  std::string all;
  for (int i = 0; i < 200; ++i) {
    lines.push_back(
        std::string(static_cast<std::size_t>(i * 97 + 9000), static_cast<char>('a' + i % 26)));
    all += lines.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  ASSERT_GT(all.size(), 1024U * 1024U);
  EXPECT_EQ(all_lines(folder.write("wide", all)), lines);
  EXPECT_EQ(all_lines(folder.write("wide.gz", gzip(all))), lines);
}

TEST(LineReader, RefusesAGzipFileThatIsCutOffAnywhere) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 5000; ++i) lines += text("line ", i * 7919 % 5000, "\n");
  const std::string whole = gzip(lines);
  for (const std::size_t size :
       {whole.size() - 1, whole.size() - 8, whole.size() / 2, std::size_t{30}}) {
    folder.write("cut.gz", whole.substr(0, size));
    expect_error(Cause::data, {folder / "cut.gz", "cut off", "fetch the file again"},
                 [&] { all_lines(folder / "cut.gz"); });
  }
}

TEST(LineReader, RefusesDamagedGzipData) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 5000; ++i) lines += text("line ", i * 7919 % 5000, "\n");
  std::string bytes = gzip(lines);
  for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 8; ++i)
    bytes[i] = static_cast<char>(~bytes[i]);
  folder.write("a.gz", bytes);
  expect_error(Cause::data, {folder / "a.gz", "damaged"}, [&] { all_lines(folder / "a.gz"); });
}

TEST(LineReader, RefusesWhatFollowsCompressedData) {
  const TemporaryFolder folder;
  const std::string packed = gzip("one\ntwo\n");
  folder.write("twice.gz", packed + packed);
  EXPECT_EQ(all_lines(folder / "twice.gz"), (Lines{"one", "two", "one", "two"}));
  folder.write("padded.gz", packed + std::string(1000, '\0'));
  EXPECT_EQ(all_lines(folder / "padded.gz"), (Lines{"one", "two"}));
  folder.write("joined.gz", packed + "three\nfour\n");
  expect_error(Cause::data, {folder / "joined.gz", "followed by other bytes after line 2"},
               [&] { all_lines(folder / "joined.gz"); });
}

TEST(LineReader, RefusesWhatIsNotATextFile) {
  const TemporaryFolder folder;
  expect_error(Cause::io, {folder / "nothing.csv", "No such file"},
               [&] { LineReader(folder / "nothing.csv"); });
  expect_error(Cause::io, {"Is a directory"}, [&] { LineReader(folder / ""); });
  const std::string path = folder.write("utf16.csv", std::string("\xFF\xFEu\0s\0", 6));
  expect_error(Cause::data, {path + ":1", "UTF-16", "save it as UTF-8"},
               [&] { LineReader reader(path); });
}

TEST(LineReader, NamesWhatAFileIsInstead) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& bytes, const std::vector<std::string>& parts) {
    std::vector<std::string> all = parts;
    all.push_back(folder.write("file.csv", bytes) + ":1: the file is ");
    expect_error(Cause::data, all, [&] { LineReader reader(folder / "file.csv"); });
  };
  refuse(std::string("PK\x03\x04", 4) + "rest", {"a zip archive", "unzip"});
  refuse("PAR1\x15\x04", {"Parquet", "to_csv"});
  refuse("ARROW1\0\0", {"Arrow"});
  refuse(std::string("\x89HDF\r\n\x1A\n", 8), {"HDF5"});
  refuse("<!DOCTYPE html>\n<html>\n", {"an HTML or XML page", "fetch the file itself"});
  refuse("\n  <HTML lang=en>", {"an HTML or XML page"});
  refuse("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
         {"a Git LFS pointer", "git lfs pull"});
  refuse(std::string(257, 'x') + "ustar", {"a tar archive"});
  refuse(std::string("u\0s\0e\0r\0_\0i\0d\0", 14), {"UTF-16", "save it as UTF-8"});
  refuse(std::string("\xFF\xFE\0\0u\0\0\0", 8), {"UTF-32"});
  // Compressed twice, in whatever way.
  const std::string path = folder.write("twice.gz", gzip(gzip("one\n")));
  expect_error(Cause::data, {path, "gzip data inside compressed data", "undo one"},
               [&] { LineReader reader(path); });
}

TEST(LineReader, RefusesALineThatIsTooLong) {
  const TemporaryFolder folder;
  const std::string path = folder.write("long", "ok\n" + std::string(1025, 'x') + "\nok\n");
  LineReader reader(path, 1024);
  std::string_view line;
  ASSERT_TRUE(reader.next(&line));
  expect_error(Cause::data, {path + ":2: ", "longer than 1.0 KiB"}, [&] { reader.next(&line); });
  const std::string just = folder.write("just", std::string(1024, 'x') + "\n");
  LineReader exact(just, 1024);
  EXPECT_TRUE(exact.next(&line));
}

TEST(LineReader, GivesBlocksOfWholeLinesThatItTakesBack) {
  const TemporaryFolder folder;
  Lines lines;
  std::string all;
  for (int i = 0; i < 4000; ++i) {
    lines.push_back(
        std::string(static_cast<std::size_t>(i % 500), static_cast<char>('a' + i % 26)));
    if (i == 100) lines.back().assign(700'000, 'x');  // more than a block
    all += lines.back() + (i < 3999 ? "\n" : "");
  }
  LineReader reader(folder.write("blocks", all));
  LineBlock block;
  Lines got;
  std::string_view line;
  ASSERT_TRUE(reader.next(&line));
  got.emplace_back(line);
  std::size_t blocks = 0;
  for (; reader.take_lines(&block); ++blocks) {
    EXPECT_EQ(block.first_line, static_cast<std::int64_t>(got.size()) + 1);
    if (blocks % 2 == 0) {
      reader.give_back(block);
      EXPECT_EQ(reader.line_number(), block.first_line - 1);
      std::size_t bytes = 0;
      while (reader.is_given_back()) {
        ASSERT_TRUE(reader.next(&line));
        got.emplace_back(line);
        bytes += line.size() + reader.line_end().size();
        EXPECT_EQ(reader.line_number(), static_cast<std::int64_t>(got.size()));
      }
      EXPECT_EQ(bytes, block.size);
      continue;
    }
    std::string_view rest = block.text();
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      got.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  EXPECT_GE(blocks, 3U);
  EXPECT_EQ(got, lines);
  EXPECT_EQ(reader.line_number(), static_cast<std::int64_t>(lines.size()));
}

}  // namespace
}  // namespace micrec
