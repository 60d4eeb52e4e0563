#include "data/domain_files.h"

#include <gtest/gtest.h>

#include <sstream>
#include <utility>

#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(DomainFiles, ReadsArguments) {
  const DomainFiles one = parse_domain_files("food=a,b=c.csv", false);
  EXPECT_EQ(one.name, "food");
  EXPECT_EQ(one.paths, std::vector<std::string>{"a,b=c.csv"});
  const DomainFiles three = parse_domain_files("d=train.txt,valid.txt,test.txt", true);
  EXPECT_EQ(three.paths, (std::vector<std::string>{"train.txt", "valid.txt", "test.txt"}));
  const DomainFiles commas = parse_domain_files("d=\"a,b.txt\",test.txt", true);
  EXPECT_EQ(commas.paths, (std::vector<std::string>{"a,b.txt", "test.txt"}));
  const std::pair<const char*, const char*> cases[] = {
      {"d=\"a, b.csv\"", "a, b.csv"}, {"d=\"say \"\"a\"\".csv\"", "say \"a\".csv"},
      {"d=\"a.csv\"", "a.csv"},       {"d=\"a\".csv", "\"a\".csv"},
      {"d=\"a,b.csv", "\"a,b.csv"},   {"d=\"a\",\"b\"", "\"a\",\"b\""},
      {"d=a\"b,c.csv", "a\"b,c.csv"},
  };
  for (const auto& [argument, path] : cases) {
    EXPECT_EQ(parse_domain_files(argument, false).paths, std::vector<std::string>{path});
  }
}

TEST(DomainFiles, RefusesOtherArguments) {
  for (const char* wrong : {"food.csv", "food=", "=food.csv", "a/b=food.csv", "key=food.csv"}) {
    expect_error(Cause::usage, {}, [&] { parse_domain_files(wrong, false); });
  }
  parse_domain_files(std::string(100, 'd') + "=food.csv", false);
  expect_error(Cause::usage, {"expected 1 to 100 letters"},
               [] { parse_domain_files(std::string(101, 'd') + "=food.csv", false); });
  expect_error(Cause::usage, {"names 1 file", "train.txt,test.txt"},
               [] { parse_domain_files("d=all.txt", true); });
  expect_error(Cause::usage, {"names 4 files"}, [] { parse_domain_files("d=a,b,c,d", true); });
}

TEST(DomainFiles, EveryDomainIsOneArgument) {
  const std::vector<DomainFiles> domains = parse_domains({"food=a.csv", "kitchen=b.csv"}, false);
  ASSERT_EQ(domains.size(), 2U);
  EXPECT_EQ(domains[1].name, "kitchen");
  EXPECT_EQ(domains[1].paths, std::vector<std::string>{"b.csv"});
  expect_error(Cause::usage, {"The domain food is given twice, as a.csv and as b.csv", "in one"},
               [] {
                 parse_domains({"food=a.csv", "food=b.csv"}, false);
               });
}

TEST(DomainFiles, RefusesAFileWithoutAName) {
  for (const char* wrong : {"d=train.txt,", "d=,test.txt", "d=a,,b", "d=\"\",test.txt"}) {
    expect_error(Cause::usage, {"--split=files", wrong, "lacks the name of a file"},
                 [&] { parse_domain_files(wrong, true); });
  }
  expect_error(Cause::usage, {"lacks the name of a file", "food=food"},
               [] { parse_domain_files("d=\"\"", false); });
}

TEST(DomainFiles, PointsToTheSplitWhereOneFileIsAList) {
  const TemporaryFolder folder;
  const std::string missing = folder.write("tr.csv", "user_id,item_id\nu,a\n") + ",te.csv";
  std::ostringstream report;
  expect_error(Cause::io, {missing, "No such file", "--split=files"}, [&] {
    read_domain({"d", {missing}, false}, {}, report);
  });
  const std::string comma = folder.write("a,b.csv", "user_id,item_id\nu,a\n");
  EXPECT_EQ(read_domain({"d", {comma}, false}, {}, report).user.size(), 1U);
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
  expect_has(report.str(), {"3 interactions"});
}

TEST(DomainFiles, SaysWhereEveryRatingIsTooLow) {
  const TemporaryFolder folder;
  const std::string path = folder.write("r.csv", "user_id,item_id,rating\nu,a,3\nu,b,4.5\n");
  std::ostringstream report;
  EXPECT_EQ(read_domain({"d", {path}}, {.min_rating = 4.5}, report).user.size(), 1U);
  expect_error(Cause::data, {"all 2 have a lower rating than --min_rating=5", "give a lower one"},
               [&] {
                 read_domain({"d", {path}}, {.min_rating = 5}, report);
               });
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

TEST(DomainFiles, ReadsASplitFromAColumn) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("x.inter", "userID\titemID\tx_label\nu\ta\t0\nu\tb\t1\nu\tc\t2\n");
  std::ostringstream report;
  const RawDomain raw = read_domain({"d", {path}, false}, {.split_column = true}, report);
  EXPECT_EQ(raw.given_split, (std::vector<Split>{Split::train, Split::valid, Split::test}));
  EXPECT_EQ(report.str().find("--split=column takes it"), std::string::npos) << report.str();
  EXPECT_TRUE(read_domain({"d", {path}, false}, {}, report).given_split.empty());
  expect_has(report.str(), {"x_label holds a published split, which is not used; --split=column"});
}

TEST(DomainFiles, MakesSecondsOfAmazonsMilliseconds) {
  const TemporaryFolder folder;
  const std::string json = folder.write(
      "r.jsonl",
      "{\"rating\": 1, \"parent_asin\": \"P1\", \"user_id\": \"AE\", \"timestamp\": 0}\n"
      "{\"rating\": 1, \"parent_asin\": \"P2\", \"user_id\": \"AF\", \"timestamp\": "
      "1588687728923}\n");
  const std::string csv = folder.write(
      "r.csv", "user_id,parent_asin,rating,timestamp\nAE,P1,4.0,1588687728923\nAE,P2,4.0,999\n");
  std::ostringstream report;
  EXPECT_EQ(read_domain({"d", {json}, false}, {}, report).timestamp,
            (std::vector<std::int64_t>{0, 1588687728}));
  EXPECT_EQ(read_domain({"d", {csv}, false}, {}, report).timestamp,
            (std::vector<std::int64_t>{1588687728, 0}));
  expect_has(report.str(), {"times in milliseconds"});
}

TEST(DomainFiles, SplitsByTimesWithinASecond) {
  const TemporaryFolder folder;
  const std::vector<std::vector<const char*>> latest_first = {
      {"1500000000900", "1500000000800", "1500000000700", "1500000000600"},
      {"1500000000.9", "1500000000.80", "1500000000.700001", "1500000000.7"},
      {"1500000000.000000004", "1500000000.000000003", "1500000000.000000002", "1500000000"},
      {"1500000000000009", "1500000000000008", "1500000000000007", "1500000000000006"},
      {"1500000000000000009", "1500000000000000008", "1500000000000000007", "1500000000000000006"},
      {"0.4", "0.3", "0.2", "0.1"},
      {"-1.1", "-1.2", "-1.3", "-1.4"}};
  for (const auto& times : latest_first) {
    std::string rows = "user_id,item_id,timestamp\n";
    for (std::size_t i = 0; i < times.size(); ++i) rows += text("u,i", i, ",", times[i], "\n");
    const std::string path = folder.write("x.csv", rows);
    for (const char* rule : {"leave_one_out", "time:8:1:1", "global_time:2:1:1"}) {
      std::ostringstream report;
      std::vector<RawDomain> raw;
      raw.push_back(read_domain({"d", {path}, false}, {}, report));
      PreparationOptions options;
      options.split = parse_split_rule(rule);
      EXPECT_EQ(prepare_quietly(std::move(raw), options).domains[0].split,
                (std::vector<Split>{Split::test, Split::valid, Split::train, Split::train}))
          << rule << " of " << times[0];
    }
  }
}

TEST(DomainFiles, RefusesDatesBesidePositions) {
  const TemporaryFolder folder;
  const std::string header = "user_id,item_id,timestamp\n";
  const std::string train = folder.write("train.csv", header + "u,a,5\n");
  const std::string test = folder.write("test.csv", header + "u,b,1400000000\n");
  std::ostringstream report;
  expect_error(Cause::data, {test, "its times are dates", train, "positions"}, [&] {
    read_domain({"d", {train, test}, true}, {}, report);
  });
}

TEST(DomainFiles, TellsWhatAFileWasTakenForAndWhy) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("u.data", "1\t10\t5\t881250949\n2\t10\t3\t881250950\n1\t11\t1\t881250951\n");
  std::ostringstream report;
  read_domain({"ml", {path}, false}, {}, report);
  expect_has(
      report.str(),
      {"ml: ", "3 interactions read (TSV without header (user, item, rating, time) by its content",
       "column 1 as user, column 2 as item, column 4 as time, column 3 as rating",
       "times in seconds"});
}

TEST(DomainFiles, DropsTimesThatOnlyOneFileHas) {
  const TemporaryFolder folder;
  const std::string train = folder.write("train.csv", "user_id,item_id,timestamp\nu,a,5\n");
  const std::string test = folder.write("test.csv", "user_id,item_id\nu,b\n");
  std::ostringstream report;
  EXPECT_TRUE(read_domain({"d", {train, test}, true}, {}, report).timestamp.empty());
  expect_has(report.str(), {"times of the other files are not used, as " + test});
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
