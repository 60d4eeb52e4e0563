#include "base/excerpt.h"

#include <gtest/gtest.h>

namespace micrec {
namespace {

TEST(Excerpt, ShortensWithoutCuttingACharacterAndHidesControlLetters) {
  EXPECT_EQ(excerpt("a\tb"), "'a.b'");
  EXPECT_EQ(excerpt(std::string(60, 'a')), "'" + std::string(60, 'a') + "'");
  EXPECT_EQ(excerpt(std::string(59, 'a') + "\xC3\xA9zz"), "'" + std::string(59, 'a') + "...'");
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
