#include "io/interactions_reader.h"

#include "base/text.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

using Lines = std::vector<std::string>;

/// "line user item time rating" of every interaction; - where absent.
Lines read_all(const std::string& path, const InteractionsOptions& options = {},
               InteractionsSummary* summary = nullptr) {
  Lines out;
  const InteractionsSummary got = for_each_interaction(path, options, [&](const Interaction& one) {
    out.push_back(text(one.line, " ", one.user, " ", one.item, " ",
                       one.timestamp ? std::to_string(*one.timestamp) : "-", " ",
                       one.rating ? text(*one.rating) : "-"));
  });
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
  EXPECT_EQ(read_all(folder.write("b.tsv.gz", "rating\tmovieId\tx\tuserId\n4.5\t 10 \tz\t7\n"), {},
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
      read_all(folder.write("r.json.gz",
                            "{\"reviewerID\": \"A1\", \"asin\": \"B1\", \"helpful\": [0, 0], "
                            "\"overall\": 5.0, \"unixReviewTime\": 1441324800}\n"
                            "{\"overall\": 2.0, \"style\": {\"asin\": \"no\"}, \"unixReviewTime\": "
                            "1441324801, \"asin\": \"B2\", \"reviewerID\": \"A\\u00e9\"}\n"),
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
            (Lines{"1 AE P1 1588687728 4", "3 AF P2 0 1"}));
  EXPECT_EQ(summary.format, "Amazon reviews of 2023 (JSON lines)");
  EXPECT_EQ(read_all(folder.write(
                "r.csv", "user_id,parent_asin,rating,timestamp\nAE,P1,4.0,1588687728923\n")),
            (Lines{"2 AE P1 1588687728 4"}));
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
  const auto summary =
      for_each_interaction(folder.write("long.csv.gz", file), {}, [&](const Interaction& one) {
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
    expect_error([&] { for_each_interaction(path, options, [](const Interaction&) {}); }, cause,
                 parts);
  };
  refuse("empty", "a.csv", "", {}, Cause::data, ": ", {"the file is empty"});
  refuse("empty gz", "a.csv.gz", "", {}, Cause::data, ": ", {"the file is empty"});
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
         ":1: ", {"expected a time as a number", "'timestamp'", "give names"});
  refuse("mixed columns", "a.csv", header, {.columns = "1,item_id"}, Cause::usage, "",
         {"'1,item_id'", "all of them names or all numbers"});
  refuse("one column", "a.csv", header, {.columns = "user_id"}, Cause::usage, "",
         {"expected user,item[,timestamp[,rating]]"});
  refuse("five columns", "a.csv", header, {.columns = "a,b,c,d,e"}, Cause::usage, "",
         {"expected user,item[,timestamp[,rating]]"});
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
         Cause::data, ":2: ", {"field 'reviewerID' is missing"});
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
  refuse("columns of txt", "a.txt", "0 1 2\n", {.columns = "1,2"}, Cause::usage, ": ",
         {"neither columns nor ratings"});
  refuse("unknown kind", "a.xlsx", "x", {}, Cause::usage, ": ",
         {"unknown kind of file", ".csv, .tsv, .json, .jsonl or .txt"});
}

TEST(Interactions, RefusesFilesThatCannotBeRead) {
  const TemporaryFolder folder;
  const auto read = [](const std::string& path) {
    for_each_interaction(path, {}, [](const Interaction&) {});
  };
  for (const char* name : {"a.csv", "a.jsonl.gz", "a.txt"}) {
    expect_error([&] { read(folder / name); }, Cause::io, {folder / name, "No such file"});
  }
  std::filesystem::create_directory(folder / "folder.csv");
  expect_error([&] { read(folder / "folder.csv"); }, Cause::io,
               {folder / "folder.csv", "Is a directory"});
  std::string lines = "user_id,item_id\n";
  for (int i = 0; i < 3000; ++i) lines += text("u", i * 31 % 3000, ",i", i, "\n");
  const std::string whole = TemporaryFolder::read(folder.write("cut.csv.gz", lines));
  TemporaryFolder::write_plain(folder / "cut.csv.gz", whole.substr(0, whole.size() / 2));
  expect_error([&] { read(folder / "cut.csv.gz"); }, Cause::data,
               {folder / "cut.csv.gz", "cut off"});
}

}  // namespace
}  // namespace micrec
