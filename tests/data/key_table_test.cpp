#include "data/key_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/text.h"

namespace micrec {
namespace {

TEST(KeyOrder, PutsPlainNumbersFirstByValueThenBytes) {
  const std::vector<std::string> sorted = {
      "0",  "2", "10",      "99999999999999999999", "", "-1", "007", "1.5", "10a", "B000", "a",
      "ab", "b", "\xC3\xA4"};
  std::vector<std::string> keys = sorted;
  std::reverse(keys.begin(), keys.end());
  std::sort(keys.begin(), keys.end(), key_less);
  std::vector<std::string> expected = {"0", "2", "10", "99999999999999999999"};
  std::vector<std::string> others(sorted.begin() + 4, sorted.end());
  std::sort(others.begin(), others.end());
  expected.insert(expected.end(), others.begin(), others.end());
  EXPECT_EQ(keys, expected);
}

TEST(KeyOrder, IsStrict) {
  for (const char* key : {"", "0", "12", "a", "01"}) EXPECT_FALSE(key_less(key, key)) << key;
}

TEST(KeyTable, NumbersKeysByFirstAppearance) {
  KeyTable table;
  EXPECT_EQ(table.add("b"), 0);
  EXPECT_EQ(table.add("a"), 1);
  EXPECT_EQ(table.add("b"), 0);
  EXPECT_EQ(table.add(""), 2);
  EXPECT_EQ(table.size(), 3);
  EXPECT_EQ(table.key(0), "b");
  EXPECT_EQ(table.key(2), "");
  EXPECT_EQ(table.find("a"), 1);
  EXPECT_EQ(table.find("c"), -1);
  EXPECT_EQ(table.sorted(), (std::vector<std::int32_t>{2, 1, 0}));
}

TEST(KeyTable, AgreesWithAMapWhileItGrows) {
  KeyTable table;
  std::map<std::string, std::int32_t> oracle;
  const Random random(3, Purpose::synthetic);
  for (int i = 0; i < 50'000; ++i) {
    const std::string key = text("key", random.index(20'000, i));
    const auto [at, is_new] = oracle.try_emplace(key, static_cast<std::int32_t>(oracle.size()));
    ASSERT_EQ(table.add(key), at->second);
  }
  ASSERT_EQ(table.size(), static_cast<std::int64_t>(oracle.size()));
  for (const auto& [key, number] : oracle) {
    ASSERT_EQ(table.find(key), number);
    ASSERT_EQ(table.key(number), key);
  }
}

TEST(KeyTable, NumbersManyKeysAsOneByOne) {
  const Random random(4, Purpose::synthetic);
  std::vector<std::string> keys;
  // Of 1 to 24 bytes, so that some are kept as words and some as texts.
  for (int i = 0; i < 30'000; ++i) {
    const std::int64_t number = random.index(9'000, i);
    keys.push_back(text(std::string(number % 20, 'k'), number));
  }
  struct Record {
    int other;
    std::string_view key;
  };
  std::vector<Record> records;
  for (const std::string& key : keys) records.push_back({0, key});
  KeyTable one_by_one;
  std::vector<std::int32_t> expected;
  for (const std::string& key : keys) expected.push_back(one_by_one.add(key));
  KeyTable table;
  std::vector<std::int32_t> numbers(keys.size());
  const std::span<const Record> all(records);
  for (std::size_t begin = 0, size = 0; begin < keys.size(); begin += size, size = size * 2 + 1) {
    size = std::min(size, keys.size() - begin);
    table.add_all(all.subspan(begin, size), &Record::key, std::span(numbers).subspan(begin, size));
  }
  EXPECT_EQ(numbers, expected);
  EXPECT_EQ(table.size(), one_by_one.size());
  for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(table.key(numbers[i]), keys[i]);
}

TEST(KeyTable, SortsByTheOrderOfKeys) {
  using namespace std::string_literals;
  const Random random(5, Purpose::synthetic);
  for (const char* beginning : {"", "person"}) {
    KeyTable table;
    for (int i = 0; i < 2'000; ++i) {
      table.add(text(beginning, std::string(random.index(12, i, 1), '0'), random.index(5'000, i)));
      table.add(text(beginning, "a name that is long ", random.index(5'000, i, 2)));
    }
    for (const std::string& key : {""s, "a"s, "a\0"s, "a\0b"s, "\xFF"s, "\x7F"s, "12"s,
                                   "99999999999999999999"s, "person"s}) {
      table.add(key);
    }
    std::vector<std::int32_t> expected(table.size());
    std::iota(expected.begin(), expected.end(), 0);
    std::sort(expected.begin(), expected.end(),
              [&](std::int32_t a, std::int32_t b) { return key_less(table.key(a), table.key(b)); });
    EXPECT_EQ(table.sorted(), expected);
  }
}

}  // namespace
}  // namespace micrec
