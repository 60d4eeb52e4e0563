#include "base/excerpt.h"

#include <gtest/gtest.h>

namespace micrec {
namespace {

TEST(Excerpt, ShortensWithoutCuttingACharacterAndHidesControlLetters) {
  EXPECT_EQ(excerpt("a\tb"), "'a.b'");
  EXPECT_EQ(excerpt(std::string(60, 'a')), "'" + std::string(60, 'a') + "'");
  EXPECT_EQ(excerpt(std::string(59, 'a') + "\xC3\xA9zz"), "'" + std::string(59, 'a') + "...'");
}

TEST(Excerpt, HidesWhatIsNoUtf8) {
  const std::string letters =
      "z\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  EXPECT_TRUE(is_printable(letters));
  EXPECT_EQ(printable(letters), letters);
  EXPECT_TRUE(is_printable(""));
  // Alone, too long, surrogates, too large, cut off.
  for (const std::string bytes :
       {"\x80", "\xFF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "\xE2\x82", "\xE2\x82z", "\xF0\x9F\x98"}) {
    EXPECT_FALSE(is_printable(bytes)) << testing::PrintToString(bytes);
    std::string hidden = printable("a" + bytes + "b");
    EXPECT_TRUE(is_printable(hidden));
    EXPECT_EQ(hidden.front(), 'a');
    EXPECT_EQ(hidden.back(), 'b');
  }
  EXPECT_FALSE(is_printable("a\nb"));
  EXPECT_FALSE(is_printable(std::string(1, '\0')));
  EXPECT_EQ(excerpt("bo\xEFks"), "'bo.ks'");
}

TEST(Excerpt, ListsTheFirstNames) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"user_id", "it\rem"}), "user_id, it.em");
  EXPECT_EQ(listed(std::vector<std::string>(12, "a")), "a, a, a, a, a, a, a, a, a, a, a, a");
  EXPECT_EQ(listed(std::vector<std::string>(13, "a")), "a, a, a, a, a, a, a, a, a, a, a, a, ...");
  EXPECT_LT(listed(std::vector<std::string>(1000, std::string(1 << 20, 'a'))).size(), 1000U);
}

}  // namespace
}  // namespace micrec
