#include "base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/timer.h"

namespace micrec {
namespace {

using Parts = std::vector<std::string>;

TEST(Text, StreamsItsArguments) { EXPECT_EQ(text("a", 1, ' ', 2.5), "a1 2.5"); }

TEST(Split, KeepsEmptyPartsButOfNothingMakesNone) {
  EXPECT_EQ(split("", ','), Parts{});
  EXPECT_EQ(split("a", ','), Parts({"a"}));
  EXPECT_EQ(split("a,b", ','), Parts({"a", "b"}));
  EXPECT_EQ(split(",a,,b,", ','), Parts({"", "a", "", "b", ""}));
  EXPECT_EQ(split(",", ','), Parts({"", ""}));
}

TEST(Join, UndoesSplit) {
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a"}, ", "), "a");
  EXPECT_EQ(join({"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(join(split(",a,,b,", ','), ","), ",a,,b,");
}

TEST(ParseInteger, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-12"), -12);
  EXPECT_EQ(parse_integer("9223372036854775807"), 9223372036854775807);
  for (const char* wrong : {"", " 1", "1 ", "1.0", "1e3", "x", "9223372036854775808", "--1"}) {
    EXPECT_EQ(parse_integer(wrong), std::nullopt) << wrong;
  }
}

TEST(ParseReal, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_real("0.25"), 0.25);
  EXPECT_EQ(parse_real("-1e-3"), -1e-3);
  EXPECT_EQ(parse_real("7"), 7.0);
  for (const char* wrong : {"", " 1", "1 ", "1,5", "x", "1e", "1.5.2"}) {
    EXPECT_EQ(parse_real(wrong), std::nullopt) << wrong;
  }
}

TEST(Nearest, FindsSlipsAndNothingElse) {
  const Parts flags = {"dropout", "dim", "layers", "modalities"};
  EXPECT_EQ(nearest("dropuot", flags), "dropout");
  EXPECT_EQ(nearest("layer", flags), "layers");
  EXPECT_EQ(nearest("din", flags), "dim");
  EXPECT_EQ(nearest("modality", flags), std::nullopt);
  EXPECT_EQ(nearest("banana", flags), std::nullopt);
  EXPECT_EQ(nearest("x", {}), std::nullopt);
}

TEST(WithCommas, GroupsThousands) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(810128), "810,128");
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
}

TEST(InBytes, ChoosesTheUnit) {
  EXPECT_EQ(in_bytes(0), "0 B");
  EXPECT_EQ(in_bytes(1.5 * 1024 * 1024 * 1024), "1.5 GiB");
  EXPECT_EQ(in_bytes(2048), "2.0 KiB");
}

TEST(InTime, ReadsAsPeopleSayIt) {
  EXPECT_EQ(in_time(125), "2 min 05 s");
  EXPECT_EQ(in_time(3725), "1 h 02 min");
  EXPECT_EQ(in_time(0.25), "250 ms");
  EXPECT_EQ(in_time(4), "4.0 s");
}

TEST(Error, CarriesItsCauseAndHasAName) {
  const Error error(Cause::checkpoint, "it is damaged");
  EXPECT_EQ(error.cause(), Cause::checkpoint);
  EXPECT_STREQ(error.what(), "it is damaged");
  EXPECT_STREQ(name_of(Cause::usage), "usage");
  EXPECT_STREQ(name_of(Cause::diverged), "diverged");
  EXPECT_EQ(static_cast<int>(Cause::usage), 2);
  EXPECT_EQ(static_cast<int>(Cause::diverged), 7);
}

TEST(Timer, RunsForwardAndStartsAgain) {
  Timer timer;
  const double first = timer.seconds();
  EXPECT_GE(first, 0);
  volatile double work = 0;
  while (timer.seconds() <= first + 1e-4) work = std::sqrt(work + 1);
  const double later = timer.seconds();
  timer.restart();
  EXPECT_LT(timer.seconds(), later + 60);
  EXPECT_GT(later, first);
}

TEST(PeakMemory, IsThatOfAProcessWithALibrary) {
  EXPECT_GT(peak_memory_bytes(), 1e6);
  EXPECT_LT(peak_memory_bytes(), 1e12);
}

}  // namespace
}  // namespace micrec
