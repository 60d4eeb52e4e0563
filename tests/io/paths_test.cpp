#include "io/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "io/result_file.h"
#include "io/unfinished_file.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

TEST(Paths, TellsWhatIsThere) {
  const TemporaryFolder folder;
  folder.write("file", "x");
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
  expect_error(Cause::io, {"File name too long", "255"}, [&] { is_there(folder / longest); });
  expect_error(Cause::io, {"File name too long"},
               [&] { refuse_unreadable(std::string(5000, '/') + "x"); });
  fs::create_symlink(folder / "circle", folder / "circle");
  expect_error(Cause::io, {"circle", "links"}, [&] { is_there(folder / "circle"); });
  if (geteuid() == 0) return;  // the superuser may look everywhere
  fs::create_directory(folder / "closed");
  ASSERT_EQ(chmod((folder / "closed").c_str(), 0), 0);
  expect_error(Cause::io, {"Permission denied", "closed"}, [&] { is_there(folder / "closed/x"); });
  ASSERT_EQ(chmod((folder / "closed").c_str(), 0700), 0);
}

TEST(Paths, RefusesWhatCannotBeRead) {
  const TemporaryFolder folder;
  expect_error(Cause::io, {folder / "none", "No such file"},
               [&] { refuse_unreadable(folder / "none"); });
  expect_error(Cause::io, {"Is a directory"}, [&] { refuse_unreadable(folder / ""); });
  refuse_unreadable("/dev/null");
}

TEST(Paths, AnOutputThatIsAnInputIsFoundThroughLinksAndSpellings) {
  const TemporaryFolder folder;
  folder.write("input", "x");
  folder.write("other", "x");
  fs::create_directory(folder / "sub");
  fs::create_symlink(folder / "input", folder / "symbolic");
  fs::create_hard_link(folder / "input", folder / "hard");
  for (const char* spelling : {"input", "./input", "sub/../input", "symbolic", "hard"}) {
    expect_error(Cause::usage, {"--out=", spelling, "same file"}, [&] {
      refuse_output_over_inputs("--out", folder / spelling, {folder / "other", folder / "input"});
    });
  }
  refuse_output_over_inputs("--out", folder / "new", {folder / "input", folder / "new"});
  refuse_output_over_inputs("--out", folder / "other", {folder / "input", folder / "none"});
  refuse_output_over_inputs("--out", "/dev/null", {"/dev/null"});
}

TEST(Paths, TwoOutputsAreNotOneFile) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "sub");
  expect_error(Cause::usage, {"--out and --per_user both name"}, [&] {
    refuse_one_file_for_two("--out", folder / "new", "--per_user", folder / "sub/../new");
  });
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
  EXPECT_EQ(file_contents(folder / "lists.csv"), "whole");
}

TEST(UnfinishedFile, RefusesANameThatIsTooLongOnceItHasItsEnding) {
  const TemporaryFolder folder;
  expect_error(Cause::io, {"File name too long"},
               [&] { refuse_unwritable(folder / std::string(250, 'n')); });
  expect_error(Cause::io, {"there is no folder"}, [&] { refuse_unwritable(folder / "none/x"); });
  expect_error(Cause::io, {"Is a directory"}, [&] { refuse_unwritable(folder / ""); });
  refuse_unwritable(folder / std::string(200, 'n'));
}

TEST(UnfinishedFile, SaysWhyTheLastWriteFailed) {
  expect_error(Cause::io, {"/dev/full", "No space left on device"},
               [] { write_whole_file("/dev/full", "results"); });
}

}  // namespace
}  // namespace micrec
