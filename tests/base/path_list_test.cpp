#include "base/path_list.h"

#include <gtest/gtest.h>

namespace micrec {
namespace {

using Parts = std::vector<std::string>;

TEST(PathList, SplitsAtCommasOutsideQuotes) {
  EXPECT_EQ(split_paths(""), Parts{});
  EXPECT_EQ(split_paths("a.txt,b.txt"), (Parts{"a.txt", "b.txt"}));
  EXPECT_EQ(split_paths(R"("a,b.txt",c.txt)"), (Parts{"a,b.txt", "c.txt"}));
  EXPECT_EQ(split_paths(R"(food="a,b.csv",kitchen=c=d.csv)"),
            (Parts{"food=a,b.csv", "kitchen=c=d.csv"}));
  EXPECT_EQ(split_paths(R"("say ""a,b"".csv")"), (Parts{R"(say "a,b".csv)"}));
  EXPECT_EQ(split_paths(R"("a=b,c.csv",)"), (Parts{"a=b,c.csv", ""}));
}

TEST(PathList, TakesWhatIsNotInQuotesAsItIs) {
  EXPECT_EQ(split_paths(R"(5" disk.csv,b)"), (Parts{R"(5" disk.csv)", "b"}));
  EXPECT_EQ(split_paths(R"("open,b)"), (Parts{R"("open)", "b"}));
  EXPECT_EQ(split_paths(R"("a"b,c)"), (Parts{R"("a"b)", "c"}));
}

}  // namespace
}  // namespace micrec
