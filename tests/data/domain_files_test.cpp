#include "data/domain_files.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/data/worlds.h"

namespace micrec {
namespace {

TEST(DomainFiles, ReadsArguments) {
  const DomainFiles one = parse_domain_files("food=a,b=c.csv", false);
  EXPECT_EQ(one.name, "food");
  EXPECT_EQ(one.paths, std::vector<std::string>{"a,b=c.csv"});
  const DomainFiles three = parse_domain_files("d=train.txt,valid.txt,test.txt", true);
  EXPECT_EQ(three.paths, (std::vector<std::string>{"train.txt", "valid.txt", "test.txt"}));
}

TEST(DomainFiles, RefusesOtherArguments) {
  for (const char* wrong : {"food.csv", "food=", "=food.csv", "a/b=food.csv", "key=food.csv"}) {
    expect_error(Cause::usage, {}, [&] { parse_domain_files(wrong, false); });
  }
  expect_error(Cause::usage, {"names 1 file", "train.txt,test.txt"},
               [] { parse_domain_files("d=all.txt", true); });
  expect_error(Cause::usage, {"names 4 files"}, [] { parse_domain_files("d=a,b,c,d", true); });
}

TEST(DomainFiles, ReadsInteractionsWithTimes) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("x.csv", "user_id,item_id,timestamp\nu,a,5\nv,a,6\nu,b,7\n");
  std::ostringstream report;
  const RawDomain raw = read_domain({"d", {path}, false}, {}, report);
  EXPECT_EQ(raw.user, (std::vector<std::int32_t>{0, 1, 0}));
  EXPECT_EQ(raw.item, (std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_EQ(raw.timestamp, (std::vector<std::int64_t>{5, 6, 7}));
  EXPECT_TRUE(raw.given_split.empty());
  EXPECT_NE(report.str().find("3 interactions"), std::string::npos) << report.str();
}

TEST(DomainFiles, ReadsAGivenSplit) {
  const TemporaryFolder folder;
  const std::string train = folder.write("train.txt", "0 0 1\n1 2\n");
  const std::string valid = folder.write("valid.txt", "0 2\n");
  const std::string test = folder.write("test.txt", "1 0\n");
  std::ostringstream report;
  const RawDomain raw = read_domain({"d", {train, valid, test}, true}, {}, report);
  EXPECT_EQ(raw.given_split, (std::vector<Split>{Split::train, Split::train, Split::train,
                                                 Split::valid, Split::test}));
  EXPECT_TRUE(raw.timestamp.empty());
  const RawDomain without_valid = read_domain({"d", {train, test}, true}, {}, report);
  EXPECT_EQ(without_valid.given_split.back(), Split::test);
}

TEST(DomainFiles, DropsTimesThatOnlyOneFileHas) {
  const TemporaryFolder folder;
  const std::string train = folder.write("train.csv", "user_id,item_id,timestamp\nu,a,5\n");
  const std::string test = folder.write("test.csv", "user_id,item_id\nu,b\n");
  std::ostringstream report;
  EXPECT_TRUE(read_domain({"d", {train, test}, true}, {}, report).timestamp.empty());
}

TEST(DomainFiles, PassesOnWhatTheReaderRefuses) {
  const TemporaryFolder folder;
  std::ostringstream report;
  expect_error(Cause::io, {"missing.csv"}, [&] {
    read_domain({"d", {folder / "missing.csv"}, false}, {}, report);
  });
  const std::string path = folder.write("x.csv", "user_id,item_id,timestamp\nu,a,5\nv,a,noon\n");
  expect_error(Cause::data, {"x.csv:3", "noon"}, [&] {
    read_domain({"d", {path}, false}, {}, report);
  });
}

}  // namespace
}  // namespace micrec
