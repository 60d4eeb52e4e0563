#include "data/time_unit.h"

#include <vector>

#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using Times = std::vector<std::int64_t>;

constexpr std::int64_t kDate = 1'400'000'000;

struct Outcome {
  Times times;
  std::vector<std::int32_t> billionths;
  TimeCensus::Settled settled;
};

Outcome settle(Times times) {
  TimeCensus census;
  for (std::size_t i = 0; i < times.size(); ++i) {
    census.add(times[i], static_cast<std::int64_t>(i) + 1);
  }
  std::vector<std::int32_t> billionths(times.size(), 0);
  const TimeCensus::Settled settled = census.settle("f.csv");
  for (std::size_t i = 0; i < times.size(); ++i) {
    const TimeCensus::Time time = census.in_seconds({times[i], 0});
    times[i] = time.whole;
    billionths[i] = time.billionths;
  }
  return {times, billionths, settled};
}

TEST(TimeCensus, MakesSecondsOfEveryUnit) {
  std::int64_t per_second = 1;
  for (const char* name : {"seconds", "milliseconds", "microseconds", "nanoseconds"}) {
    const Outcome out = settle({kDate * per_second, (kDate + 1) * per_second + per_second / 2});
    EXPECT_EQ(out.times, (Times{kDate, kDate + 1})) << name;
    EXPECT_EQ(out.settled.scale, TimeScale::dates);
    EXPECT_EQ(out.settled.in_words, text("times in ", name));
    per_second *= 1000;
  }
}

TEST(TimeCensus, KeepsWhatItRoundsOff) {
  const Outcome out = settle({kDate * 1000 + 999, kDate * 1'000'000 + 7, -1, kDate * 1000});
  EXPECT_EQ(out.times, (Times{kDate, kDate, -1, kDate}));
  EXPECT_EQ(out.billionths, (std::vector<std::int32_t>{999'000'000, 7'000, 999'000'000, 0}));
}

TEST(TimeCensus, DoesNotTrustTheFirstTime) {
  for (const std::int64_t first :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{-300'000'000'000}, std::int64_t{999}}) {
    const Outcome out = settle({first, kDate * 1000, kDate * 1000 + 1});
    EXPECT_EQ(out.times[1], kDate) << first;
    EXPECT_LE(out.times[0], 0) << first;
    EXPECT_EQ(out.settled.in_words, "times in milliseconds");
  }
}

TEST(TimeCensus, ReadsEachOfAMixtureByItsSizeAndTellsOfIt) {
  const Outcome out = settle({kDate * 1000, kDate + 5, kDate * 1000 + 7000, 0});
  EXPECT_EQ(out.times, (Times{kDate, kDate + 5, kDate + 7, 0}));
  EXPECT_EQ(out.settled.in_words, "times in milliseconds, 1 of them in seconds");
}

TEST(TimeCensus, KeepsTimesThatAreMerePositions) {
  const Outcome out = settle({0, 2, 1, 40'000'000, -7});
  EXPECT_EQ(out.times, (Times{0, 2, 1, 40'000'000, -7}));
  EXPECT_EQ(out.settled.scale, TimeScale::order);
  EXPECT_EQ(out.settled.in_words, "times are positions, -7 to 40,000,000");
}

TEST(TimeCensus, RefusesAMixtureThatCannotBeToldApart) {
  // Milliseconds since the beginning of a log: some have the size of seconds.
  expect_error(Cause::data,
               {"f.csv:2: ", "cannot be told apart", "2 seconds and 1 milliseconds",
                "90000000000 would be a date after 2100"},
               [] {
                 settle({kDate, 90'000'000'000, 130'000'000'000});
               });
  // Seconds, and the last day of the year 9999.
  expect_error(Cause::data, {"f.csv:3: ", "253402300799 would be a date before 1980"}, [] {
    settle({kDate, kDate, 253'402'300'799});
  });
}

TEST(TimeCensus, RefusesDatesWrittenAsNumbers) {
  const std::pair<std::int64_t, const char*> written[] = {
      {20161101, "(20161101 as YYYYMMDD)"},
      {2016110112, "as YYYYMMDDhh)"},
      {201611011200, "as YYYYMMDDhhmm)"},
      {20161101120009, "(20161101120009 as YYYYMMDDhhmmss)"},
      {20161101120009123, "as YYYYMMDDhhmmssSSS)"}};
  for (const auto& [date, pattern] : written) {
    expect_error(Cause::data,
                 {"f.csv:2: ", "2 of the 3 times look like dates written as numbers", pattern,
                  "convert them to Unix seconds"},
                 [date = date] {
                   settle({0, date, date});
                 });
  }
  // No such month, day or hour, and too few of them.
  EXPECT_EQ(settle({20161301, 20160230, 19791231, 21000101}).settled.scale, TimeScale::order);
  EXPECT_EQ(settle({20161101, 5, 20161102, 7}).settled.scale, TimeScale::order);
  EXPECT_EQ(settle({2016110124, kDate}).settled.in_words, "times in seconds");
}

TEST(TimeCensus, RefusesTimesThatAreDatesInNoUnit) {
  expect_error(Cause::data,
               {"f.csv:1: ", "2 of the 3 times are no dates between 1980 and 2100 in any unit",
                "20169901120009 would be milliseconds after 2100", "convert them to Unix seconds"},
               [] {
                 settle({20169901120009, 20169901120008, 1'400'000'000'000});
               });
  expect_error(Cause::data, {"150000000 would be seconds before 1980"},
               [] { settle({150'000'000}); });
  EXPECT_EQ(settle({-300'000'000, kDate}).settled.in_words, "times in seconds");
}

TEST(TimeCensus, TakesTheExtremesOfItsType) {
  constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(settle({kLeast, kMost, kDate * 1'000'000'000, kDate * 1'000'000'000}).times,
            (Times{-9'223'372'037, 9'223'372'036, kDate, kDate}));
}

}  // namespace
}  // namespace micrec
