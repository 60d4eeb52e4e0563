#include "io/tables/csv.h"

#include "base/text.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

using Records = std::vector<std::vector<std::string>>;

Records all_records(const std::string& path, char separator = ',') {
  CsvReader reader(path, separator);
  Records records;
  while (reader.next()) {
    auto& record = records.emplace_back();
    for (const std::string_view field : reader.fields()) record.emplace_back(field);
  }
  return records;
}

TEST(CsvReader, SplitsPlainFields) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_records(folder.write("a.csv", "a,b,c\r\n1,,3\n\n,\n x , y\n")),
            (Records{{"a", "b", "c"}, {"1", "", "3"}, {"", ""}, {" x ", " y"}}));
  EXPECT_EQ(all_records(folder.write("a.tsv", "a,b\tc\n"), '\t'), (Records{{"a,b", "c"}}));
}

TEST(CsvReader, TakesQuotedFields) {
  const TemporaryFolder folder;
  const std::string path = folder.write("q.csv",
                                        "\"a,b\",\"say \"\"hi\"\"\",c\n"
                                        "\"\",\"\"\"\",\n"
                                        "\"two\r\nlines\",x\n"
                                        "5\" pipe,y\n"
                                        "\"last\"");
  EXPECT_EQ(all_records(path), (Records{{"a,b", "say \"hi\"", "c"},
                                        {"", "\"", ""},
                                        {"two\r\nlines", "x"},
                                        {"5\" pipe", "y"},
                                        {"last"}}));
}

TEST(CsvReader, NumbersARecordByItsFirstLine) {
  const TemporaryFolder folder;
  CsvReader reader(folder.write("n.csv", "a\n\"b\nb\nb\"\nc\n"), ',');
  std::vector<std::int64_t> numbers;
  while (reader.next()) numbers.push_back(reader.line_number());
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{1, 2, 5}));
  EXPECT_EQ(std::string(reader.error("wrong").what()), reader.path() + ":5: wrong");
}

TEST(CsvReader, RefusesBrokenQuotes) {
  const TemporaryFolder folder;
  const std::string open = folder.write("open.csv", "a,b\nx,\"never closed\nc,d\n");
  expect_error(Cause::data, {open + ":2: ", "field 2", "never closed"}, [&] { all_records(open); });
  const std::string after = folder.write("after.csv", "a,b\n\"x\"y,z\n");
  expect_error(
      Cause::data,
      {after + ":2: ", "expected ',' after the closing quote of field 1", "'y,z'", "twice"},
      [&] { all_records(after); });
}

TEST(CsvReader, RefusesAFieldThatGoesOverManyLines) {
  const TemporaryFolder folder;
  const auto with_lines = [&](int lines) {
    std::string file = "a,b\nx,\"";
    for (int i = 1; i < lines; ++i) file += "text\n";
    return folder.write("long.csv", file + "end\"\n");
  };
  EXPECT_EQ(all_records(with_lines(CsvReader::kMostLinesOfField)).size(), 2U);
  const std::string path = with_lines(CsvReader::kMostLinesOfField + 1);
  expect_error(Cause::data, {path + ":2: ", "field 2", "not closed in 32 lines"},
               [&] { all_records(path); });
}

TEST(CsvReader, TakesAQuoteAsACharacterInATableOfTabs) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_records(folder.write("q.tsv", "a\t\"great\nb\t\"\nc\t\"x\"\n"), '\t'),
            (Records{{"a", "\"great"}, {"b", "\""}, {"c", "\"x\""}}));
}

TEST(CsvReader, TakesSeparatorsOfSeveralCharactersAndTellsWhatWasInQuotes) {
  const TemporaryFolder folder;
  CsvReader reader(LineReader(folder.write("s.dat", "1::\"a::b\":: x \n::::\n")), {"::", true});
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.fields(), (std::vector<std::string_view>{"1", "a::b", " x "}));
  EXPECT_FALSE(reader.is_quoted(0));
  EXPECT_TRUE(reader.is_quoted(1));
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.fields(), (std::vector<std::string_view>{"", "", ""}));
  EXPECT_FALSE(reader.is_quoted(1));
  EXPECT_FALSE(reader.next());
}

TEST(CsvReader, AgreesWithAPlainLoopOnAnyFields) {
  const TemporaryFolder folder;
  const std::vector<std::string> pieces = {"",          "a",    ",",        "\"", "\n",
                                           "long text", "\"\"", "\xC3\xA9", " "};
  Records records;
  std::string file;
  std::uint32_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    auto& record = records.emplace_back();
    for (int j = 0; j < 3; ++j) {
      std::string field;
      for (int k = 0; k < 3; ++k) {
        state = state * 1664525U + 1013904223U;
        field += pieces[(state >> 16) % pieces.size()];
      }
      record.push_back(field);
      std::string written = "\"";
      for (const char letter : field) written += letter == '"' ? "\"\"" : std::string(1, letter);
      file += (j == 0 ? "" : ",") + written + "\"";
    }
    file += "\r\n";
  }
  EXPECT_EQ(all_records(folder.write("any.csv", file)), records);
}

}  // namespace
}  // namespace micrec
