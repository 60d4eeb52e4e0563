#include "data/time_unit.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr std::int64_t kLeastSeconds = 100'000'000;           // March 1973
constexpr std::int64_t kLeastMilliseconds = 100'000'000'000;  // likewise, and so on
constexpr std::int64_t kLeastMicroseconds = 100'000'000'000'000;
constexpr std::int64_t kLeastNanoseconds = 100'000'000'000'000'000;

constexpr std::int64_t kOf1980 = 315'532'800;
constexpr std::int64_t kOf2100 = 4'102'444'800;
constexpr std::int64_t kLeastHourAsDate = 1'980'010'100;  // YYYYMMDDhh; as seconds of 2032

constexpr std::array<std::int64_t, 5> kPerSecond = {1, 1, 1'000, 1'000'000, 1'000'000'000};
constexpr std::array<const char*, 5> kNames = {"small numbers", "seconds", "milliseconds",
                                               "microseconds", "nanoseconds"};

std::int64_t floor_divided(std::int64_t time, std::int64_t by) {
  const std::int64_t whole = time / by;
  return time % by < 0 ? whole - 1 : whole;
}

bool is_of_our_centuries(std::int64_t seconds) { return kOf1980 <= seconds && seconds < kOf2100; }

/// The pattern of a date from 1980 to 2099 that is written as a number, or nullptr.
const char* pattern_of_date(std::int64_t time) {
  struct Pattern {
    const char* name;
    std::int64_t per_day;
    std::int64_t per_hour;  // 0 where the hour is left out, and so on
    std::int64_t per_minute;
    std::int64_t per_second;
  };
  constexpr Pattern kPatterns[] = {
      {"YYYYMMDD", 1, 0, 0, 0},
      {"YYYYMMDDhh", 100, 1, 0, 0},
      {"YYYYMMDDhhmm", 10'000, 100, 1, 0},
      {"YYYYMMDDhhmmss", 1'000'000, 10'000, 100, 1},
      {"YYYYMMDDhhmmssSSS", 1'000'000'000, 10'000'000, 100'000, 1'000},
  };
  for (const Pattern& pattern : kPatterns) {
    if (time < 1980'00'00 * pattern.per_day || time / 2100'00'00 >= pattern.per_day) continue;
    const std::int64_t digits = time / pattern.per_day;
    if (digits < 1980'00'00 || digits >= 2100'00'00) continue;
    const std::chrono::year_month_day day(
        std::chrono::year(static_cast<int>(digits / 10'000)),
        std::chrono::month(static_cast<unsigned>(digits / 100 % 100)),
        std::chrono::day(static_cast<unsigned>(digits % 100)));
    const auto below = [time](std::int64_t per, std::int64_t end) {
      return per == 0 || time / per % 100 < end;
    };
    if (day.ok() && below(pattern.per_hour, 24) && below(pattern.per_minute, 60) &&
        below(pattern.per_second, 61)) {
      return pattern.name;
    }
  }
  return nullptr;
}

constexpr const char* kWayOut =
    "; convert them to Unix seconds (since 1970), or leave the times out with --columns=USER,ITEM";

bool reaches(std::int64_t time, std::int64_t least) { return time >= least || time <= -least; }

}  // namespace

TimeScale scale_of(std::span<const std::int64_t> times) {
  const bool has_date =
      std::ranges::any_of(times, [](std::int64_t time) { return reaches(time, kLeastSeconds); });
  return has_date ? TimeScale::dates : TimeScale::order;
}

void TimeCensus::Odd::add(std::int64_t time, std::int64_t line) {
  if (count++ > 0) return;
  first = time;
  line_of_first = line;
}

std::int64_t TimeCensus::count() const {
  std::int64_t sum = 0;
  for (const Of& of : of_) sum += of.count;
  return sum;
}

TimeCensus::Unit TimeCensus::unit_of(std::int64_t time) {
  if (!reaches(time, kLeastSeconds)) return kNone;
  if (!reaches(time, kLeastMilliseconds)) return kSeconds;
  if (!reaches(time, kLeastMicroseconds)) return kMilliseconds;
  return reaches(time, kLeastNanoseconds) ? kNanoseconds : kMicroseconds;
}

void TimeCensus::add(std::int64_t time, std::int64_t line) {
  const Unit unit = unit_of(time);
  // As most are: seconds, and nothing else.
  const bool are_seconds = kOf1980 <= time && time < kLeastHourAsDate;
  if (!are_seconds && pattern_of_date(time) != nullptr) written_dates_.add(time, line);
  if (!are_seconds && unit != kNone &&
      !is_of_our_centuries(floor_divided(time, kPerSecond[unit]))) {
    other_centuries_.add(time, line);
  }
  Of& of = of_[unit];
  if (of.count == 0 || time < of.least) {
    of.least = time;
    of.line_of_least = line;
  }
  if (of.count == 0 || time > of.most) {
    of.most = time;
    of.line_of_most = line;
  }
  ++of.count;
}

void TimeCensus::refuse_written_dates(const std::string& path) const {
  const Odd& odd = written_dates_;
  if (odd.count <= count() - odd.count) return;
  throw Error(Cause::data, path, ":", odd.line_of_first, ": ", with_commas(odd.count), " of the ",
              with_commas(count()), " times look like dates written as numbers (", odd.first,
              " as ", pattern_of_date(odd.first), ")", kWayOut);
}

void TimeCensus::refuse_other_centuries(const std::string& path) const {
  const Odd& odd = other_centuries_;
  if (odd.count <= count() - odd.count) return;
  const Unit unit = unit_of(odd.first);
  throw Error(Cause::data, path, ":", odd.line_of_first, ": ", with_commas(odd.count), " of the ",
              with_commas(count()), " times are no dates between 1980 and 2100 in any unit (",
              odd.first, " would be ", kNames[unit],
              odd.first < 0 || floor_divided(odd.first, kPerSecond[unit]) < kOf1980 ? " before 1980"
                                                                                    : " after 2100",
              ")", kWayOut);
}

void TimeCensus::refuse_mixture(const std::string& path) const {
  for (std::size_t unit = kSeconds; unit < kUnits; ++unit) {
    const Of& of = of_[unit];
    if (of.count == 0) continue;
    const bool too_early = floor_divided(of.least, kPerSecond[unit]) < kOf1980;
    if (!too_early && floor_divided(of.most, kPerSecond[unit]) < kOf2100) continue;
    std::vector<std::string> counts;
    for (std::size_t other = kSeconds; other < kUnits; ++other) {
      if (of_[other].count > 0)
        counts.push_back(text(with_commas(of_[other].count), " ", kNames[other]));
    }
    throw Error(Cause::data, path, ":", too_early ? of.line_of_least : of.line_of_most,
                ": the units of the times cannot be told apart: by their sizes they are ",
                join(counts, " and "), ", and ", too_early ? of.least : of.most,
                " would be a date ", too_early ? "before 1980" : "after 2100",
                "; write all of them in Unix seconds");
  }
}

bool TimeCensus::are_seconds() const {
  return std::all_of(of_.begin() + kSeconds + 1, of_.end(),
                     [](const Of& of) { return of.count == 0; });
}

std::size_t TimeCensus::unit_of_file() const {
  const auto most = std::max_element(of_.begin() + kSeconds, of_.end(),
                                     [](const Of& a, const Of& b) { return a.count < b.count; });
  return most->count == 0 ? std::size_t{kNone} : static_cast<std::size_t>(most - of_.begin());
}

TimeCensus::Settled TimeCensus::settle(const std::string& path) const {
  const std::size_t of_file = unit_of_file();
  refuse_written_dates(path);
  if (of_file == kNone) {
    return {TimeScale::order, text("times are positions, ", with_commas(of_[kNone].least), " to ",
                                   with_commas(of_[kNone].most))};
  }
  const auto units =
      std::count_if(of_.begin() + kSeconds, of_.end(), [](const Of& of) { return of.count > 0; });
  if (units > 1) refuse_mixture(path);
  refuse_other_centuries(path);
  std::string words = text("times in ", kNames[of_file]);
  for (std::size_t unit = kSeconds; unit < kUnits; ++unit) {
    if (unit == of_file || of_[unit].count == 0) continue;
    words += text(", ", with_commas(of_[unit].count), " of them in ", kNames[unit]);
  }
  return {TimeScale::dates, words};
}

TimeCensus::Time TimeCensus::in_seconds(const Time& time) const {
  const std::size_t own = unit_of(time.whole);
  const std::int64_t per_second = kPerSecond[own == kNone ? unit_of_file() : own];
  const std::int64_t rest = (time.whole % per_second + per_second) % per_second;
  return {floor_divided(time.whole, per_second),
          static_cast<std::int32_t>(rest * (kPerSecond[kNanoseconds] / per_second) +
                                    time.billionths / per_second)};
}

}  // namespace micrec
