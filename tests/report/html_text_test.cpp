#include "report/html_text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(HtmlText, IsNeverMarkup) {
  EXPECT_EQ(escaped("<b a='1' c=\"2\">&amp;"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;");
  EXPECT_EQ(escaped("küche 厨房 🍳"), "küche 厨房 🍳");
  EXPECT_EQ(escaped(std::string("a\0b\x1b\x7f\tc\nd", 9)), "a\uFFFDb\uFFFD\uFFFD c d");
}

TEST(HtmlText, IsUtf8WhateverItIsMadeOf) {
  const std::string bad = "\uFFFD";
  EXPECT_EQ(escaped("\xff"), bad);
  EXPECT_EQ(escaped("\xc3"), bad);                                // cut off
  EXPECT_EQ(escaped("\xc0\xbc"), bad + bad);                      // a long "<"
  EXPECT_EQ(escaped("\xe0\x80\xbc"), bad + bad + bad);            // likewise
  EXPECT_EQ(escaped("\xed\xa0\x80"), bad + bad + bad);            // half of a pair
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // beyond the last character
  EXPECT_EQ(escaped("a\xe2\x82z"), "a" + bad + bad + "z");
}

TEST(HtmlText, ShortensByCharacters) {
  EXPECT_EQ(shortened("küche", 5), "küche");
  EXPECT_EQ(shortened("küche", 2), "kü…");
  EXPECT_EQ(shortened("\xff\xff\xff", 2), "\xff\xff…");
}

TEST(HtmlText, WritesNumbers) {
  EXPECT_EQ(metric_text(0.06099294), "0.0610");
  EXPECT_EQ(metric_text(NAN), "—");
  EXPECT_EQ(count_text(28095), "28,095");
  EXPECT_EQ(count_text(INFINITY), "—");
}

TEST(HtmlTable, MarksTheChosenRow) {
  HtmlTable table({"a", "b"});
  EXPECT_TRUE(table.empty());
  table.add({"x", "1"}, true);
  table.add({"y"});
  expect_has(table.to_html(), {"<tr class=\"chosen\"><td class=\"left\">x</td><td>1</td></tr>",
                               "<tr><td class=\"left\">y</td><td></td></tr>"});
}

}  // namespace
}  // namespace micrec
