#include "io/tables/interactions_reader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "base/text.h"
#include "io/tables/line_reader.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

using Lines = std::vector<std::string>;

/// "line user item time rating"; - where absent.
std::string line_of(const Interaction& one) {
  return text(one.line, " ", one.user, " ", one.item, " ",
              one.timestamp ? std::to_string(*one.timestamp) : "-", " ",
              one.rating ? text(*one.rating) : "-");
}

/// Of every interaction.
Lines read_all(const std::string& path, const InteractionsOptions& options = {},
               InteractionsSummary* summary = nullptr) {
  Lines out;
  const InteractionsSummary got = for_each_interaction(
      path, options, [&](const Interaction& one) { out.push_back(line_of(one)); });
  EXPECT_EQ(got.interactions, static_cast<std::int64_t>(out.size()));
  if (summary != nullptr) *summary = got;
  return out;
}

TEST(Interactions, FindsColumnsByHeaderInAnyOrderAndSpelling) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("a.csv", "user_id,item_id,timestamp\nu1,i1,5\n\nu2,\"i,2\",-7\n"),
                     {}, &summary),
            (Lines{"2 u1 i1 5 -", "4 u2 i,2 -7 -"}));
  EXPECT_EQ(summary.format, "CSV with header");
  EXPECT_TRUE(summary.has_timestamps);
  EXPECT_EQ(
      read_all(folder.write("b.tsv.gz", gzip("rating\tmovieId\tx\tuserId\n4.5\t 10 \tz\t7\n")), {},
               &summary),
      (Lines{"2 7 10 - 4.5"}));
  EXPECT_EQ(summary.format, "TSV with header");
  EXPECT_FALSE(summary.has_timestamps);
  EXPECT_EQ(read_all(folder.write("c.csv", "user_id, item_id, rating\nu, i,\n")),
            (Lines{"2 u i - -"}));
}

TEST(Interactions, TakesWholeAndDecimalTimes) {
  const TemporaryFolder folder;
  EXPECT_EQ(
      read_all(folder.write("t.csv",
                            "user_id,item_id,timestamp\na,b,1381536000.9\na,b,1.381536e9\na,b,-0."
                            "5\na,b,1441324800000\n")),
      (Lines{"2 a b 1381536000 -", "3 a b 1381536000 -", "4 a b -1 -", "5 a b 1441324800000 -"}));
}

TEST(Interactions, TakesTimesOfAnyNumberOfDigitsAndNothingElse) {
  const TemporaryFolder folder;
  const std::string header = "user_id,item_id,timestamp\nu1,i1,3\n";
  const std::string digits = "123456789012345678";
  for (std::size_t size = 1; size <= digits.size(); ++size) {
    const std::string time = digits.substr(0, size);
    EXPECT_EQ(read_all(folder.write("a.csv", header + "u,i2," + time)).back(),
              "3 u i2 " + time + " -");
    for (std::size_t at = 0; at < size; ++at) {
      for (const char letter : {'/', ':', '?', 'a', '\x7F', '*'}) {
        std::string wrong = time;
        wrong[at] = letter;
        const std::string path = folder.write("b.csv", header + "u,i2," + wrong + "\n");
        expect_error(Cause::data, {path + ":3:", "expected a time"}, [&] { read_all(path); });
      }
    }
  }
}

TEST(Interactions, FindsFieldsWhereverTheyEnd) {
  const TemporaryFolder folder;
  for (const std::string line_end : {"\n", "\r\n"}) {
    std::string table = "item_id,x,user_id" + line_end;
    Lines expected;
    for (int n = 0; n < 300;
         ++n) {  // so that fields end at every byte of the 64 looked at together
      const std::string item = std::string(n % 67, 'i') + std::to_string(n);
      const std::string user = std::string(n % 13, 'u') + "1";
      table += text(n == 0 ? "" : line_end, item, ",", std::string(n % 5, 'x'), ",", user);
      expected.push_back(text(n + 2, " ", user, " ", item, " - -"));
    }
    EXPECT_EQ(read_all(folder.write("a.csv", table)), expected);
    EXPECT_EQ(read_all(folder.write("b.csv", table + line_end + line_end)), expected);
  }
}

TEST(Interactions, TakesColumnsByNameOrByNumber) {
  const TemporaryFolder folder;
  const std::string named = folder.write("n.csv", "who,what,when,stars_given\nu,i,3,5\nv,j,4,2\n");
  EXPECT_EQ(read_all(named, {.columns = "who,what"}), (Lines{"2 u i - -", "3 v j - -"}));
  EXPECT_EQ(read_all(named, {.columns = "who,what,when,stars_given", .min_rating = 3}),
            (Lines{"2 u i 3 5"}));
  EXPECT_EQ(read_all(named, {.columns = "what,who,,stars_given"}),
            (Lines{"2 i u - 5", "3 j v - 2"}));
  const std::string bare = folder.write("b.csv", "x,i,u,3\nx,j,v,4\n");
  EXPECT_EQ(read_all(bare, {.columns = "3,2,4"}), (Lines{"1 u i 3 -", "2 v j 4 -"}));
}

TEST(Interactions, RecognisesAmazonRatingsByShape) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("ratings_Beauty.csv",
                                  "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,"
                                  "B000052YAN,3.0,1355443200\n"),
                     {}, &summary),
            (Lines{"1 A39HTATAQ9V7YF 0205616461 1369699200 5",
                   "2 A3JM6GV9MNOF9X B000052YAN 1355443200 3"}));
  EXPECT_EQ(summary.format, "Amazon ratings (user, item, rating, time)");
  EXPECT_EQ(read_all(folder.write("All_Beauty.csv", "0143026860,A1V6B6TNIC10QE,1.0,1424304000\n"),
                     {}, &summary),
            (Lines{"1 A1V6B6TNIC10QE 0143026860 1424304000 1"}));
  EXPECT_EQ(summary.format, "Amazon ratings (item, user, rating, time)");
}

TEST(Interactions, ReadsAmazonReviewsOfAllYears) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(
      read_all(
          folder.write("r.json.gz",
                       gzip("{\"reviewerID\": \"A1\", \"asin\": \"B1\", \"helpful\": [0, 0], "
                            "\"overall\": 5.0, \"unixReviewTime\": 1441324800}\n"
                            "{\"overall\": 2.0, \"style\": {\"asin\": \"no\"}, \"unixReviewTime\": "
                            "1441324801, \"asin\": \"B2\", \"reviewerID\": \"A\\u00e9\"}\n")),
          {}, &summary),
      (Lines{"1 A1 B1 1441324800 5", "2 A\xC3\xA9 B2 1441324801 2"}));
  EXPECT_EQ(summary.format, "Amazon reviews of 2014 or 2018 (JSON lines)");
  EXPECT_EQ(read_all(folder.write("r.jsonl",
                                  "{\"rating\": 4.0, \"asin\": \"B1\", \"parent_asin\": \"P1\", "
                                  "\"user_id\": \"AE\", \"timestamp\": 1588687728923}\n"
                                  "\n"
                                  "{\"rating\": 1, \"asin\": \"B2\", \"parent_asin\": \"P2\", "
                                  "\"user_id\": \"AF\", \"timestamp\": 999}\n"),
                     {}, &summary),
            (Lines{"1 AE P1 1588687728923 4", "3 AF P2 999 1"}));
  EXPECT_EQ(summary.format, "Amazon reviews of 2023 (JSON lines)");
  EXPECT_EQ(read_all(folder.write(
                "r.csv", "user_id,parent_asin,rating,timestamp\nAE,P1,4.0,1588687728923\n")),
            (Lines{"2 AE P1 1588687728923 4"}));
}

TEST(Interactions, ReadsOtherJsonLines) {
  const TemporaryFolder folder;
  const std::string path = folder.write("o.jsonl",
                                        "{\"user_id\": 12, \"item_id\": \"x\", \"timestamp\": "
                                        "\"77\", \"who\": \"me\", \"n\": 1588687728923}\n");
  InteractionsSummary summary;
  EXPECT_EQ(read_all(path, {}, &summary), (Lines{"1 12 x 77 -"}));
  EXPECT_EQ(summary.format, "JSON lines");
  EXPECT_EQ(read_all(path, {.columns = "who,item_id,n"}), (Lines{"1 me x 1588687728923 -"}));
}

TEST(Interactions, ReadsLightGcnLines) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("train.txt", "0 5 6 7\n1 5 \r\n2\n3  9\n"), {}, &summary),
            (Lines{"1 0 5 - -", "1 0 6 - -", "1 0 7 - -", "2 1 5 - -", "4 3 9 - -"}));
  EXPECT_FALSE(summary.has_timestamps);
}

// --- what is silently wrong elsewhere ---

TEST(Interactions, ReadsEveryLineOfATableOfTabsWithQuotes) {
  const TemporaryFolder folder;
  const std::string path = folder.write("r.tsv",
                                        "user_id\titem_id\tnote\nu1\ti1\tok\nu1\ti2\t\"great\n"
                                        "u2\ti1\tfine\nu2\ti2\tso\nu3\ti1\t\"\nu3\t\"i2\"\tx\n");
  InteractionsSummary summary;
  EXPECT_EQ(read_all(path, {}, &summary), (Lines{"2 u1 i1 - -", "3 u1 i2 - -", "4 u2 i1 - -",
                                                 "5 u2 i2 - -", "6 u3 i1 - -", "7 u3 \"i2\" - -"}));
  EXPECT_EQ(summary.quoted_keys, 1);
}

TEST(Interactions, AsksAboutQuotesAroundKeysInATableOfTabs) {
  const TemporaryFolder folder;
  const std::string all =
      folder.write("all.tsv", "user_id\titem_id\n\"u1\"\t\"i1\"\n\"u2\"\t\"i2\"\n");
  expect_error(Cause::data,
               {all + ":2: ", "every user key of the file is in quotes", "--quotes=twice"},
               [&] { read_all(all); });
  EXPECT_EQ(read_all(all, {.quotes = Quotes::twice}), (Lines{"2 u1 i1 - -", "3 u2 i2 - -"}));
  EXPECT_EQ(read_all(all, {.quotes = Quotes::none}),
            (Lines{"2 \"u1\" \"i1\" - -", "3 \"u2\" \"i2\" - -"}));
  const std::string one = folder.write("one.tsv", "user_id\titem_id\nu1\t\"a\"\"b\"\nu2\ti2\n");
  expect_error(Cause::data, {one + ":2: ", "is in quotes", "--quotes=none"},
               [&] { read_all(one); });
}

TEST(Interactions, RefusesAQuoteThatSwallowsRecords) {
  const TemporaryFolder folder;
  const std::string header = "user_id,item_id,note\n";
  const auto refuse = [&](const std::string& rest, const std::string& where) {
    const std::string path = folder.write("q.csv", header + rest);
    expect_error(Cause::data, {path + where, "opens a quote"}, [&] { read_all(path); });
  };
  refuse("u1,i1,ok\nu1,i2,\"great\nu2,i1,fine\nu3,i1,\"\n", ":3: ");
  refuse("u1,i2,\"great\nu3,i1,\"\n", ":2: ");
  refuse("u1,i2,\"great\nu2,i1,fine\n", ":2: ");
  // A text of several lines is none of these.
  InteractionsSummary summary;
  const std::string text = folder.write(
      "t.csv", header + "u1,i1,\"It works, mostly.\nI like it, and my dog, too\nBye\"\nu2,i2,x\n");
  EXPECT_EQ(read_all(text, {}, &summary), (Lines{"2 u1 i1 - -", "5 u2 i2 - -"}));
  EXPECT_EQ(summary.fields_over_lines, 1);
}

TEST(Interactions, TakesATableNamedTxtForOne) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  const std::string movielens = "1\t10\t5\t881250949\n2\t10\t3\t881250950\n1\t11\t1\t881250951\n";
  for (const char* name : {"u.txt", "u.data", "ratings"}) {
    EXPECT_EQ(read_all(folder.write(name, movielens), {}, &summary),
              (Lines{"1 1 10 881250949 5", "2 2 10 881250950 3", "3 1 11 881250951 1"}))
        << name;
    EXPECT_EQ(summary.format, "TSV without header (user, item, rating, time)");
    expect_has(summary.why, {"by its content"});
  }
  EXPECT_EQ(read_all(folder.write("h.txt", "user_id item_id\na x\na y\n")),
            (Lines{"2 a x - -", "3 a y - -"}));
  EXPECT_EQ(read_all(folder.write("c.txt", "1 10 5\n1 11 3\n2 10 3\n"), {.columns = "1,2,,3"}),
            (Lines{"1 1 10 - 5", "2 1 11 - 3", "3 2 10 - 3"}));
  EXPECT_EQ(read_all(folder.write("j.txt", "{\"user_id\": 1, \"item_id\": 2}\n")),
            (Lines{"1 1 2 - -"}));
  // Nobody knows what three numbers are, nor what one line is.
  for (const char* doubtful : {"1 10 5\n1 11 3\n2 10 3\n", "1\t10\t5\n2\t11\t3\n",
                               "7 10 5 881250949\n8 12 4 881250949\n"}) {
    const std::string path = folder.write("d.txt", doubtful);
    expect_error(Cause::data, {path + ":1: ", "--columns"}, [&] { read_all(path); });
  }
}

TEST(Interactions, TakesListsOfOneLengthForLists) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("test.txt", "0 5\n1 7\n2 5\n"), {}, &summary),
            (Lines{"1 0 5 - -", "2 1 7 - -", "3 2 5 - -"}));
  EXPECT_EQ(summary.format, "LightGCN's lines 'user item item ...'");
  EXPECT_EQ(read_all(folder.write("two.txt", "0 5 16\n1 7 15\n")).size(), 4U);
  EXPECT_EQ(
      read_all(folder.write("large.txt", "0 100000005 100000006\n1 100000007 100000005\n")).size(),
      4U);
}

// A test file with a line a user has no user twice, so that ratings would be read as items.
TEST(Interactions, AsksWhetherSmallThirdNumbersAreRatings) {
  const TemporaryFolder folder;
  std::string stars;
  std::string ones;
  std::string lists;
  for (int user = 0; user < 3000; ++user) {
    stars += text(user, " ", 17 * user % 911, " ", 1 + user % 5, "\n");
    ones += text(user, " ", 17 * user % 911, " 1\n");
    lists += text(user, " ", 17 * user % 911, " ", 11 * user % 911, "\n");
  }
  for (const std::string& doubtful : {std::string("1 12 4\n2 13 3\n"), std::string("1 12 10\n"),
                                      std::string("1 12 0\r\n2 13 1\r\n"), stars, ones}) {
    const std::string path = folder.write("d.txt", doubtful);
    expect_error(Cause::data, {path + ":1: ", "in doubt", "--columns", "'user_id item_id rating'"},
                 [&] { read_all(path); });
    EXPECT_EQ(read_all(path, {.columns = "1,2,,3"}).size(),
              static_cast<std::size_t>(std::count(doubtful.begin(), doubtful.end(), '\n')));
  }
  EXPECT_EQ(read_all(folder.write("h.txt", "user_id item_id rating\n1 12 4\n2 13 3\n")),
            (Lines{"2 1 12 - 4", "3 2 13 - 3"}));
  EXPECT_EQ(read_all(folder.write("l.txt", lists)).size(), 6000U);
  EXPECT_EQ(read_all(folder.write("l.txt", "1 12 4\n2 13 11\n")).size(), 4U);
  EXPECT_EQ(read_all(folder.write("l.txt", "1 12 4\n2 13\n")).size(), 3U);
  EXPECT_EQ(read_all(folder.write("l.txt", "1 12 4\n2\n")).size(), 2U);
}

TEST(Interactions, LeavesOutLinesThatRepeatTheHeader) {
  const TemporaryFolder folder;
  const std::string part = "user_id,item_id\nu1,i1\n";
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("cat.csv", part + part + "\xEF\xBB\xBF" + part), {}, &summary),
            (Lines{"2 u1 i1 - -", "4 u1 i1 - -", "6 u1 i1 - -"}));
  EXPECT_EQ(summary.repeated_headers, 2);
  const std::string packed = gzip(part);
  folder.write("cat.csv.gz", packed + packed);
  EXPECT_EQ(read_all(folder / "cat.csv.gz", {}, &summary).size(), 2U);
  EXPECT_EQ(summary.repeated_headers, 1);

  const std::string other = folder.write("other.csv", part + "item_id,user_id\ni1,u1\n");
  expect_error(Cause::data, {other + ":3: ", "header of another file"}, [&] { read_all(other); });
  const std::string typed = folder.write("typed.csv", part + "userId,movieId\n7,8\n");
  expect_error(Cause::data, {typed + ":3: ", "header of another file"}, [&] { read_all(typed); });
  const std::string asked = folder.write("asked.csv", part);
  expect_error(Cause::data, {asked + ":1: ", "looks like a header", "--columns=user_id,item_id"},
               [&] { read_all(asked, {.columns = "1,2"}); });
}

TEST(Interactions, ReadsPublishedSplitsOfMMRecAndRecBole) {
  const TemporaryFolder folder;
  const std::string mmrec =
      "userID\titemID\trating\ttimestamp\tx_label\n0\t3\t5.0\t1400000000\t0\n"
      "0\t4\t4.0\t1400000001\t1\n1\t3\t1.0\t1400000002\t2\n";
  const std::string path = folder.write("baby.inter", mmrec);
  std::vector<SplitLabel> labels;
  const auto read_labels = [&](const std::string& file, const std::string& columns) {
    labels.clear();
    for_each_interaction(file, {.columns = columns, .split_column = true},
                         [&](const Interaction& one) { labels.push_back(one.label.value()); });
    return labels;
  };
  const std::vector<SplitLabel> expected = {SplitLabel::train, SplitLabel::valid, SplitLabel::test};
  EXPECT_EQ(read_labels(path, ""), expected);
  EXPECT_EQ(read_labels(folder.write("w.csv", "a,b,part\nu,i,train\nu,j,Valid\nv,i,test\n"),
                        "a,b,,,part"),
            expected);
  EXPECT_EQ(read_labels(folder.write("w.jsonl",
                                     "{\"user_id\": 1, \"item_id\": 2, \"x_label\": 0}\n"
                                     "{\"user_id\": 1, \"item_id\": 3, \"x_label\": 1}\n"
                                     "{\"user_id\": 1, \"item_id\": 4, \"x_label\": 2}\n"),
                        ""),
            expected);
  InteractionsSummary summary;
  EXPECT_EQ(read_all(path, {}, &summary).size(), 3U);
  EXPECT_EQ(summary.unused_label, "x_label");

  expect_error(Cause::data, {":1: ", "expected x_label", "got user_id, item_id"},
               [&] { read_labels(folder.write("n.csv", "user_id,item_id\nu,i\n"), ""); });
  expect_error(Cause::data, {":2: ", "expected 0 (training), 1 (validation) or 2 (test)", "'3'"},
               [&] { read_labels(folder.write("b.csv", "user_id,item_id,x_label\nu,i,3\n"), ""); });

  const std::string recbole = folder.write(
      "ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3.0\t4e8\n");
  EXPECT_EQ(read_all(recbole, {}, &summary), (Lines{"2 1 2 400000000 3"}));
  EXPECT_EQ(summary.columns,
            "user_id as user, item_id as item, timestamp as time, rating as rating");
  const std::string sequences =
      folder.write("s.inter", "user_id:token\titem_id_list:token_seq\titem_id:token\n1\t2 3\t4\n");
  expect_error(Cause::data, {sequences + ":1: ", "whole histories"}, [&] { read_all(sequences); });
}

TEST(Interactions, ReadsOtherSeparatorsWhereTheyAreGiven) {
  const TemporaryFolder folder;
  const auto refuse = [&](const char* name, const std::string& file, const std::string& columns,
                          const std::string& flag) {
    const std::string path = folder.write(name, file);
    expect_error(Cause::data, {path + ":1: ", flag}, [&] { read_all(path, {.columns = columns}); });
    return path;
  };
  const std::string movielens = "1::1193::5::978300760\n1::661::3::978302109\n";
  for (const char* name : {"ratings.dat", "ratings.csv", "ratings.txt"}) {
    const std::string path = refuse(name, movielens, "", "--separator='::'");
    EXPECT_EQ(read_all(path, {.separator = "::"}),
              (Lines{"1 1 1193 978300760 5", "2 1 661 978302109 3"}));
  }
  const std::string excel =
      refuse("e.csv", "user_id;item_id;rating\nu;\"i;1\";4\n", "", "--separator=';'");
  EXPECT_EQ(read_all(excel, {.separator = ";"}), (Lines{"2 u i;1 - 4"}));
  refuse("t.csv", "user_id\titem_id\nu\ti\n", "", "--separator=tab");
  refuse("p.csv", "u|i|5\nv|j|4\n", "1,2", "--separator='|'");
  // By commas it would be a user 'u1;i1;4' and an item 5.
  const std::string doubtful = refuse("d.csv", "u1;i1;4,5\nu2;i2;3,5\n", "1,2", "--separator=';'");
  EXPECT_EQ(read_all(doubtful, {.columns = "1,2", .separator = ";"}),
            (Lines{"1 u1 i1 - -", "2 u2 i2 - -"}));
  expect_error(Cause::data, {doubtful + ":1: ", "'4,5'", "write decimals with a point"},
               [&] { read_all(doubtful, {.columns = "1,2,,3", .separator = ";"}); });
  const std::string announced = folder.write("s.csv", "sep=;\r\nuser_id;item_id\r\nu;i\r\n");
  EXPECT_EQ(read_all(announced), (Lines{"3 u i - -"}));
  expect_error(Cause::usage, {"a JSON file has no separator"},
               [&] { read_all(folder.write("a.jsonl", "{}\n"), {.separator = ";"}); });
}

TEST(Interactions, NamesJsonThatIsNotAnObjectALine) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& file, const std::string& what) {
    const std::string path = folder.write("a.json", file);
    expect_error(Cause::data, {path + ":1: ", "broken JSON", what}, [&] { read_all(path); });
  };
  refuse("[\n{\"user_id\": 1, \"item_id\": 2}\n]\n", "an array over several lines");
  refuse("{\n  \"user_id\": 1,\n", "an object over several lines");
  refuse("{'user_id': 'A', 'item_id': 'B'}\n", "a Python dictionary, in single quotes");
  refuse("{\"user_id\": \"A\", \"item_id\": None}\n", "a Python dictionary");
  refuse("{\"user_id\": \"A\", \"rating\": NaN}\n", "NaN or Infinity");
  refuse("{\"user_id\": \"A, }\", \"item_id\": 1,}\n", "a comma after its last field");
  refuse("{\"user_id\": 1, \"item_id\": 2} {\"user_id\": 1, \"item_id\": 3}\n",
         "two objects on a line");
  refuse("{\"user_id\": 1, \"item_id\": 2},\n", "an array without its brackets");
  const std::string twice =
      folder.write("t.json", "{\"user_id\": 1, \"item_id\": 2, \"user_id\": 3}\n");
  expect_error(Cause::data, {twice + ":1: ", "two fields 'user_id'"}, [&] { read_all(twice); });
}

TEST(Interactions, KeepsKeysAsTheyAreWrittenWithoutSpacesAroundThem) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(
      read_all(folder.write("k.csv", "user_id,item_id\n u1,\" i1 \"\nu2\t,i2\n"), {}, &summary),
      (Lines{"2 u1 i1 - -", "3 u2 i2 - -"}));
  EXPECT_EQ(summary.trimmed_keys, 3);
  EXPECT_EQ(
      read_all(folder.write("k.jsonl",
                            "{\"user_id\": \" u v\\t\", \"item_id\": 18446744073709551615}\n"),
               {}, &summary),
      (Lines{"1 u v 18446744073709551615 - -"}));
  EXPECT_EQ(summary.trimmed_keys, 1);
  EXPECT_EQ(read_all(folder.write("l.csv", "user_id,item_id\nu,\"a\r\nb\"\n")),
            (Lines{"2 u a\r\nb - -"}));
  const std::string mark = folder.write("m.csv", "user_id,item_id\nu,i\n\xEF\xBB\xBFv,j\n");
  expect_error(Cause::data, {mark + ":3: ", "byte order mark"}, [&] { read_all(mark); });
  const std::string mixed = folder.write("x.csv", "u1,i1\ru2\n");
  expect_error(Cause::data, {mixed + ":1: ", "line ends of the file are mixed"},
               [&] { read_all(mixed, {.columns = "1,2"}); });
}

TEST(Interactions, FiltersByRatingAndCountsWhatItLeavesOut) {
  const TemporaryFolder folder;
  InteractionsSummary summary;
  EXPECT_EQ(read_all(folder.write("r.csv", "user_id,item_id,rating\na,x,3\nb,y,4\nc,z,5\n"),
                     {.min_rating = 4}, &summary),
            (Lines{"3 b y - 4", "4 c z - 5"}));
  EXPECT_EQ(summary.below_min_rating, 1);
}

TEST(Interactions, StreamsALongFile) {
  const TemporaryFolder folder;
  constexpr int kRows = 300'000;
  std::string file = "user_id,item_id,timestamp\n";
  for (int i = 0; i < kRows; ++i) file += text("user", i % 1000, ",item", i / 7, ",", i, "\n");
  std::int64_t sum = 0;
  std::int64_t last = 0;
  const auto summary = for_each_interaction(folder.write("long.csv.gz", gzip(file)), {},
                                            [&](const Interaction& one) {
                                              sum += *one.timestamp;
                                              last = one.line;
                                            });
  EXPECT_EQ(summary.interactions, kRows);
  EXPECT_EQ(sum, std::int64_t{kRows} * (kRows - 1) / 2);
  EXPECT_EQ(last, kRows + 1);
}

TEST(Interactions, RefusesMalformedFilesByFileAndLine) {
  const std::string header = "user_id,item_id,timestamp\n";
  const std::string review = "{\"reviewerID\": \"A\", \"asin\": \"B\", \"unixReviewTime\": 1}\n";
  const TemporaryFolder folder;
  const auto refuse = [&](const char* what, const char* file, const std::string& contents,
                          const InteractionsOptions& options, Cause cause, const std::string& where,
                          Lines parts) {
    SCOPED_TRACE(what);
    const std::string path = folder.write(file, contents);
    if (!where.empty()) parts.push_back(path + where);
    expect_error(cause, parts,
                 [&] { for_each_interaction(path, options, [](const Interaction&) {}); });
  };
  refuse("empty", "a.csv", "", {}, Cause::data, ": ", {"the file is empty"});
  refuse("empty gz", "a.csv.gz", gzip(""), {}, Cause::data, ": ", {"the file is empty"});
  refuse("only a header", "a.csv", header, {}, Cause::data, ": ", {"header line and nothing else"});
  refuse("empty json", "a.jsonl", "\n\n", {}, Cause::data, ": ", {"the file is empty"});
  refuse("empty txt", "a.txt", "", {}, Cause::data, ": ", {"the file is empty"});
  refuse("users without items", "a.txt", "1\n2\n", {}, Cause::data, ": ", {"no line has an item"});
  refuse("no user column", "a.csv", "usr_id,item_id\n1,2\n", {}, Cause::data, ":1: ",
         {"no column for the users", "expected user_id", "got usr_id, item_id",
          "did you mean 'usr_id'?", "--columns"});
  refuse("no item column", "a.tsv", "user_id\tthing\n1\t2\n", {}, Cause::data,
         ":1: ", {"no column for the items", "got user_id, thing"});
  refuse("no header", "a.csv", "u1,i1,17\n", {}, Cause::data,
         ":1: ", {"no column for the users", "got u1, i1, 17", "as numbers if there is no header"});
  refuse("unknown name", "a.csv", header + "u,i,1\n", {.columns = "user_id,item"}, Cause::data,
         ":1: ", {"no column 'item'", "has user_id, item_id, timestamp"});
  refuse("misspelt name", "a.csv", header + "u,i,1\n", {.columns = "user_id,item_id,timestmp"},
         Cause::data, ":1: ", {"no column 'timestmp'", "did you mean 'timestamp'?"});
  refuse("number too large", "a.csv", "u,i,1\n", {.columns = "1,4"}, Cause::data,
         ":1: ", {"no column 4; the line has 3 columns"});
  refuse("numbers with a header", "a.csv", header + "u,i,1\n", {.columns = "1,2,3"}, Cause::data,
         ":1: ", {"looks like a header", "--columns=user_id,item_id,timestamp"});
  refuse("numbers with another header", "a.csv", "who,what,when\nx,y,z\n", {.columns = "1,2,3"},
         Cause::data, ":1: ", {"expected a time as a number", "'when'", "give names"});
  refuse("numbers with names of keys", "a.csv", "visitor,page\n17,4\n", {.columns = "1,2"},
         Cause::data, ":1: ", {"looks like a header", "--columns=visitor,page"});
  refuse("mixed columns", "a.csv", header, {.columns = "1,item_id"}, Cause::usage, "",
         {"'1,item_id'", "all of them names or all numbers"});
  refuse("one column", "a.csv", header, {.columns = "user_id"}, Cause::usage, "",
         {"expected user,item[,timestamp[,rating[,split]]]"});
  refuse("six columns", "a.csv", header, {.columns = "a,b,c,d,e,f"}, Cause::usage, "",
         {"expected user,item[,timestamp[,rating[,split]]]"});
  refuse("a split that is not read", "a.csv", header, {.columns = "a,b,c,d,e"}, Cause::usage, "",
         {"only --split=column"});
  refuse("a column named twice", "a.csv", header + "u,i,1\n", {.columns = "item_id,item_id"},
         Cause::usage, "", {"'item_id' is named twice, as user and as item"});
  refuse("a number given twice", "a.csv", "u,i,1\n", {.columns = "1,2,02"}, Cause::usage, "",
         {"named twice"});
  refuse("two columns of a name", "a.csv", "user_id,item_id,User_ID\nu,i,v\n", {}, Cause::data,
         ":1: ", {"two columns 'user_id', 1 and 3"});
  refuse("two given columns of a name", "a.csv", "a,b,a\nu,i,v\n", {.columns = "a,b"}, Cause::data,
         ":1: ", {"two columns 'a', 1 and 3"});
  refuse("a time in words", "a.csv", header + "u,i,1\nv,j,yesterday\n", {}, Cause::data,
         ":3: ", {"expected a time as a number (Unix seconds), got 'yesterday'"});
  refuse("a date", "a.csv", header + "u,i,2014-07-01\n", {}, Cause::data,
         ":2: ", {"got '2014-07-01'", "convert dates to Unix seconds"});
  refuse("an empty time", "a.csv", header + "u,i,\n", {}, Cause::data,
         ":2: ", {"expected a time", "got ''"});
  refuse("an infinite time", "a.csv", header + "u,i,inf\n", {}, Cause::data,
         ":2: ", {"expected a time", "got 'inf'"});
  refuse("too few fields", "a.csv", header + "u,i\n", {}, Cause::data,
         ":2: ", {"expected 3 fields as in the first line, got 2"});
  refuse("too many fields", "a.csv", header + "u,i,1,2\n", {}, Cause::data,
         ":2: ", {"expected 3 fields as in the first line, got 4"});
  refuse("empty user", "a.csv", header + " ,i,1\n", {}, Cause::data,
         ":2: ", {"the user key is empty"});
  refuse("empty item", "a.csv", header + "u,\"\",1\n", {}, Cause::data,
         ":2: ", {"the item key is empty"});
  refuse("latin-1 key", "a.csv", header + "u,caf\xE9,1\n", {}, Cause::data,
         ":2: ", {"the item key is not UTF-8"});
  refuse("open quote", "a.csv", header + "\"u,i,1\n", {}, Cause::data, ":2: ", {"never closed"});
  refuse("rating in words", "a.csv", "user_id,item_id,rating\nu,i,good\n", {}, Cause::data,
         ":2: ", {"expected a rating as a number, got 'good'"});
  refuse("no rating column", "a.csv", header + "u,i,1\n", {.min_rating = 4}, Cause::data,
         ":1: ", {"no column for ratings", "has user_id, item_id, timestamp"});
  refuse("no rating", "a.csv", "user_id,item_id,rating\nu,i,\n", {.min_rating = 4}, Cause::data,
         ":2: ", {"the rating is missing"});
  refuse("broken json", "a.json", review + "{\"reviewerID\": \"A\", \n", {}, Cause::data,
         ":2: ", {"broken JSON", "expected an object a line", "'{\"reviewerID\": \"A\", '"});
  refuse("not json", "a.json", "user_id,item_id\n", {}, Cause::data,
         ":1: ", {"broken JSON", "got 'user_id,item_id'"});
  refuse("a json array", "a.json", "[" + review.substr(0, review.size() - 1) + "]\n", {},
         Cause::data,
         ":1: ", {"expected a JSON object a line", "each element of the array on a line"});
  refuse("latin-1 json", "a.json", "{\"reviewerID\": \"caf\xE9\"}\n", {}, Cause::data,
         ":1: ", {"broken JSON", "UTF-8"});
  refuse("no user field", "a.json", "{\"asin\": \"B\", \"x\": 1}\n", {}, Cause::data,
         ":1: ", {"no field for the user", "got asin, x"});
  refuse("a field goes missing", "a.json",
         review + "{\"reviewerID\": \"A\", \"unixReviewTime\": 1}\n", {}, Cause::data,
         ":2: ", {"field 'asin' is missing", "has reviewerID, unixReviewTime"});
  refuse("a time goes missing", "a.json", review + "{\"reviewerID\": \"A\", \"asin\": \"B\"}\n", {},
         Cause::data, ":2: ", {"field 'unixReviewTime' is missing"});
  refuse("null", "a.json",
         review + "{\"reviewerID\": null, \"asin\": \"B\", \"unixReviewTime\": 1}\n", {},
         Cause::data, ":2: ", {"field 'reviewerID' is null", "leave the line out"});
  refuse("a null item", "a.json", "{\"user_id\": 1, \"item_id\": null}\n", {}, Cause::data,
         ":1: ", {"field 'item_id' is null; expected a string or a number"});
  refuse("a null time", "a.json", "{\"user_id\": 1, \"item_id\": 2, \"timestamp\": null}\n", {},
         Cause::data, ":1: ", {"field 'timestamp' is null; expected a number"});
  refuse("an object as a key", "a.json", "{\"reviewerID\": {\"a\": 1}, \"asin\": \"B\"}\n", {},
         Cause::data, ":1: ", {"field 'reviewerID'", "got an object"});
  refuse("empty json key", "a.json", "{\"reviewerID\": \"A\", \"asin\": \"\"}\n", {}, Cause::data,
         ":1: ", {"the item key is empty"});
  refuse("zero byte in a key", "a.json", "{\"reviewerID\": \"A\\u0000b\", \"asin\": \"B\"}\n", {},
         Cause::data, ":1: ", {"zero byte"});
  refuse("a json time in words", "a.json",
         "{\"reviewerID\": \"A\", \"asin\": \"B\", \"unixReviewTime\": \"soon\"}\n", {},
         Cause::data, ":1: ", {"got 'soon'"});
  refuse("unknown json field", "a.json", review, {.columns = "reviewerId,asin"}, Cause::data,
         ":1: ", {"no field 'reviewerId'", "did you mean 'reviewerID'?"});
  refuse("json by number", "a.json", review, {.columns = "1,2"}, Cause::usage, ": ",
         {"given by name"});
  refuse("no json rating", "a.json", review, {.min_rating = 3}, Cause::data,
         ":1: ", {"no field for ratings"});
  refuse("words in txt", "a.txt", "0 1 2\nuser item\n", {}, Cause::data,
         ":2: ", {"expected whole numbers", "got 'user'", ".csv or .tsv"});
  refuse("negative in txt", "a.txt", "0 1 -2\n", {}, Cause::data, ":1: ", {"got '-2'"});
  refuse("columns of lists", "a.txt", "0 1 2\n1 4\n", {.columns = "1,2"}, Cause::usage, ": ",
         {"neither columns nor ratings"});
  refuse("ratings of lists", "a.txt", "0 1 2\n1 4\n", {.min_rating = 3}, Cause::usage, ": ",
         {"neither columns nor ratings"});
  refuse("unknown kind", "a.xlsx", "x", {}, Cause::usage, ": ",
         {"unknown kind of file", ".csv, .tsv, .inter, .json, .jsonl or .txt"});
}

TEST(Interactions, RefusesFilesThatCannotBeRead) {
  const TemporaryFolder folder;
  const auto read = [](const std::string& path) {
    for_each_interaction(path, {}, [](const Interaction&) {});
  };
  for (const char* name : {"a.csv", "a.jsonl.gz", "a.txt"}) {
    expect_error(Cause::io, {folder / name, "No such file"}, [&] { read(folder / name); });
  }
  std::filesystem::create_directory(folder / "folder.csv");
  expect_error(Cause::io, {folder / "folder.csv", "Is a directory"},
               [&] { read(folder / "folder.csv"); });
  std::string lines = "user_id,item_id\n";
  for (int i = 0; i < 3000; ++i) lines += text("u", i * 31 % 3000, ",i", i, "\n");
  const std::string whole = gzip(lines);
  folder.write("cut.csv.gz", whole.substr(0, whole.size() / 2));
  expect_error(Cause::data, {folder / "cut.csv.gz", "cut off"},
               [&] { read(folder / "cut.csv.gz"); });
}

/// The parts of a file by several threads, as lines of read_all(), once for each of three uses.
std::vector<Lines> read_parts(const std::string& path, const InteractionsOptions& options,
                              int threads, InteractionsSummary* summary = nullptr) {
  std::vector<Lines> seen(3);
  std::vector<UseInteractions> uses;
  for (Lines& lines : seen) {
    uses.emplace_back([&lines](std::span<const Interaction> part) {
      for (const Interaction& one : part) lines.push_back(line_of(one));
    });
  }
  InteractionsSummary got;
  try {
    const ComputeThreads scope(threads);
    got = for_each_part(path, options, uses);
  } catch (const Error& error) {
    got.why = error.what();  // What came before the error was used.
  }
  if (summary != nullptr) *summary = got;
  return seen;
}

/// A table of some MiB, and what is expected of it, line by line. `odd`: how many lines lie between
/// two that need a closer look; 0: there are none.
std::pair<std::string, Lines> long_table(int rows, int odd) {
  std::string file = "user_id,item_id,timestamp,rating\n";
  Lines expected;
  int line = 2;
  for (int i = 0; i < rows; ++i, ++line) {
    const std::string user = text("user", i % 1000);
    const std::string item = text("item", i / 7);
    std::string time = std::to_string(1'400'000'000 + i);
    if (odd == 0 || i % odd != 0) {
      file += text(user, ",", item, ",", time, ",4.5\n");
      expected.push_back(text(line, " ", user, " ", item, " ", time, " 4.5"));
      continue;
    }
    expected.push_back(text(line, " ", user, " ", item, " ", time, " 4"));
    switch (i / odd % 7) {
      case 0:
        file += text(" ", user, " ,", item, "\t,", time, ",4\n");
        break;
      case 1:
        file += text(user, ",", item, ",", time, ".25,4.0\r\n");
        break;
      case 2:
        file += text("\n", user, ",", item, ",", time, ", 4\n");
        expected.back() = text(++line, " ", user, " ", item, " ", time, " 4");
        break;
      case 3:
        file += text("\"", user, "\",\"", item, "\"\"\n\",", time, ",4\n");
        expected.back() = text(line, " ", user, " ", item, "\"\n ", time, " 4");
        ++line;
        break;
      case 4:
        file += text("user_id,item_id,timestamp,rating\n", user, ",", item, ",", time, ",4\n");
        expected.back() = text(++line, " ", user, " ", item, " ", time, " 4");
        break;
      case 5:
        file += text("someone,something,-", i, ",\n");
        expected.back() = text(line, " someone something -", i, " -");
        break;
      default:
        file += text("\xC3\xA4,", item, ",00", time, ",4e0\n");
        expected.back() = text(line, " \xC3\xA4 ", item, " ", time, " 4");
    }
  }
  return {file, expected};
}

TEST(Interactions, AreTheSameInPartsByAnyNumberOfThreads) {
  const TemporaryFolder folder;
  constexpr int kRows = 40'000;  // more blocks than one thread takes at a time
  for (const int odd : {0, 15'000, 11}) {
    SCOPED_TRACE(odd);
    const auto [file, expected] = long_table(kRows, odd);
    for (const char* name : {"long.csv", "long.csv.gz"}) {
      const std::string path = folder.write(name, file);
      EXPECT_EQ(read_all(path), expected);
      for (const int threads : {1, 3}) {
        InteractionsSummary summary;
        const std::vector<Lines> seen = read_parts(path, {}, threads, &summary);
        for (const Lines& lines : seen) EXPECT_EQ(lines, expected);
        EXPECT_EQ(summary.interactions, kRows);
        EXPECT_EQ(summary.trimmed_keys, odd == 0 ? 0 : ((kRows - 1) / odd / 7 + 1) * 2);
      }
    }
  }
}

TEST(Interactions, InPartsEndAtTheFirstWrongLine) {
  const TemporaryFolder folder;
  const auto [file, expected] = long_table(60'000, 0);
  std::vector<std::size_t> begins = {0};  // of every line
  for (std::size_t at = 0; at < file.size(); ++at) {
    if (file[at] == '\n') begins.push_back(at + 1);
  }
  for (const std::size_t wrong : {std::size_t{2}, std::size_t{9'000}, std::size_t{60'000}}) {
    std::string broken = file;
    broken.insert(begins[59'990], "u1,i1\n");  // a later one, which nobody comes to
    broken.insert(begins[wrong - 1], "u1,i1,tomorrow,4\n");
    const std::string path = folder.write("broken.csv", broken);
    for (const int threads : {1, 2, 4}) {
      InteractionsSummary summary;
      const std::vector<Lines> seen = read_parts(path, {}, threads, &summary);
      const bool later_is_first = wrong > 59'991;
      const std::size_t last = later_is_first ? 59'991 : wrong;
      EXPECT_THAT(summary.why, testing::HasSubstr(text(path, ":", last, ": expected ",
                                                       later_is_first ? "4 fields" : "a time")));
      for (const Lines& lines : seen) {
        EXPECT_EQ(lines, Lines(expected.begin(),
                               expected.begin() + static_cast<std::ptrdiff_t>(last) - 2));
      }
    }
  }
}

TEST(Interactions, InPartsSayWhereCompressedDataAreCutOff) {
  const TemporaryFolder folder;
  const auto [file, expected] = long_table(60'000, 0);
  const std::string whole = gzip(file);
  const std::string path =
      folder.write("cut.csv.gz", whole.substr(0, whole.size() - whole.size() / 4));
  LineReader lines(path);
  std::string_view line;
  const std::string by_lines = refusal_of(Cause::data, [&] {
    while (lines.next(&line)) {
    }
  });
  ASSERT_THAT(by_lines, testing::HasSubstr("cut off"));
  for (const int threads : {1, 3}) {
    InteractionsSummary summary;
    const std::vector<Lines> seen = read_parts(path, {}, threads, &summary);
    EXPECT_EQ(summary.why, by_lines);
    EXPECT_EQ(static_cast<std::int64_t>(seen[2].size()), lines.line_number() - 1);
  }
}

}  // namespace
}  // namespace micrec
