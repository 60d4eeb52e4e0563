#include "io/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "files.h"
#include "io/result_file.h"
#include "io/unfinished_file.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

TEST(Paths, TellsWhatIsThere) {
  const TemporaryFolder folder;
  TemporaryFolder::write_plain(folder / "file", "x");
  fs::create_symlink(folder / "file", folder / "link");
  fs::create_symlink(folder / "nothing", folder / "dangling");
  EXPECT_EQ(look_at(folder / "file"), PathKind::file);
  EXPECT_EQ(look_at(folder / "link"), PathKind::file);
  EXPECT_EQ(look_at(folder / ""), PathKind::folder);
  EXPECT_EQ(look_at("/dev/null"), PathKind::other);
  EXPECT_EQ(look_at(folder / "dangling"), PathKind::missing);
  EXPECT_EQ(look_at(folder / "file/below"), PathKind::missing);
  EXPECT_EQ(list_folder(folder / ""),
            (std::vector<std::string>{folder / "dangling", folder / "file", folder / "link"}));
}

TEST(Paths, WhatTheSystemDoesNotTellIsNotTakenForMissing) {
  const TemporaryFolder folder;
  const std::string longest(300, 'n');
  expect_error([&] { is_there(folder / longest); }, Cause::io, {"File name too long", "255"});
  expect_error([&] { refuse_unreadable(std::string(5000, '/') + "x"); }, Cause::io,
               {"File name too long"});
  fs::create_symlink(folder / "circle", folder / "circle");
  expect_error([&] { is_there(folder / "circle"); }, Cause::io, {"circle", "links"});
  if (geteuid() == 0) return;  // the superuser may look everywhere
  fs::create_directory(folder / "closed");
  ASSERT_EQ(chmod((folder / "closed").c_str(), 0), 0);
  expect_error([&] { is_there(folder / "closed/x"); }, Cause::io, {"Permission denied", "closed"});
  ASSERT_EQ(chmod((folder / "closed").c_str(), 0700), 0);
}

TEST(Paths, RefusesWhatCannotBeRead) {
  const TemporaryFolder folder;
  expect_error([&] { refuse_unreadable(folder / "none"); }, Cause::io,
               {folder / "none", "No such file"});
  expect_error([&] { refuse_unreadable(folder / ""); }, Cause::io, {"Is a directory"});
  refuse_unreadable("/dev/null");
}

TEST(Paths, AnOutputThatIsAnInputIsFoundThroughLinksAndSpellings) {
  const TemporaryFolder folder;
  TemporaryFolder::write_plain(folder / "input", "x");
  TemporaryFolder::write_plain(folder / "other", "x");
  fs::create_directory(folder / "sub");
  fs::create_symlink(folder / "input", folder / "symbolic");
  fs::create_hard_link(folder / "input", folder / "hard");
  for (const char* spelling : {"input", "./input", "sub/../input", "symbolic", "hard"}) {
    expect_error(
        [&] {
          refuse_output_over_inputs("--out", folder / spelling,
                                    {folder / "other", folder / "input"});
        },
        Cause::usage, {"--out=", spelling, "same file"});
  }
  refuse_output_over_inputs("--out", folder / "new", {folder / "input", folder / "new"});
  refuse_output_over_inputs("--out", folder / "other", {folder / "input", folder / "none"});
  refuse_output_over_inputs("--out", "/dev/null", {"/dev/null"});
}

TEST(Paths, TwoOutputsAreNotOneFile) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "sub");
  expect_error(
      [&] {
        refuse_one_file_for_two("--out", folder / "new", "--per_user", folder / "sub/../new");
      },
      Cause::usage, {"--out and --per_user both name"});
  refuse_one_file_for_two("--out", folder / "new", "--per_user", folder / "other");
  refuse_one_file_for_two("--out", "", "--per_user", "");
}

TEST(ResultFile, IsThereOnceItIsFinishedAndNotBefore) {
  const TemporaryFolder folder;
  {
    ResultFile abandoned(folder / "lists.csv");
    abandoned.stream() << "half";
  }
  EXPECT_TRUE(fs::is_empty(folder / "."));
  ResultFile result(folder / "lists.csv");
  result.stream() << "whole";
  testing::internal::CaptureStderr();
  result.finish("step-000000000600");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            folder / "lists.csv" + " written, from step-000000000600\n");
  std::ifstream file(folder / "lists.csv");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "whole");
}

TEST(UnfinishedFile, RefusesANameThatIsTooLongOnceItHasItsEnding) {
  const TemporaryFolder folder;
  expect_error([&] { refuse_unwritable(folder / std::string(250, 'n')); }, Cause::io,
               {"File name too long"});
  expect_error([&] { refuse_unwritable(folder / "none/x"); }, Cause::io, {"there is no folder"});
  expect_error([&] { refuse_unwritable(folder / ""); }, Cause::io, {"Is a directory"});
  refuse_unwritable(folder / std::string(200, 'n'));
}

TEST(UnfinishedFile, SaysWhyTheLastWriteFailed) {
  expect_error([] { write_whole_file("/dev/full", "results"); }, Cause::io,
               {"/dev/full", "No space left on device"});
}

}  // namespace
}  // namespace micrec
