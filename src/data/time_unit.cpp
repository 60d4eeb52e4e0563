#include "data/time_unit.h"

#include <glog/logging.h>

#include <algorithm>
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

constexpr std::array<std::int64_t, 5> kPerSecond = {1, 1, 1'000, 1'000'000, 1'000'000'000};
constexpr std::array<const char*, 5> kNames = {"small numbers", "seconds", "milliseconds",
                                               "microseconds", "nanoseconds"};

std::int64_t floor_divided(std::int64_t time, std::int64_t by) {
  const std::int64_t whole = time / by;
  return time % by < 0 ? whole - 1 : whole;
}

}  // namespace

TimeCensus::Unit TimeCensus::unit_of(std::int64_t time) {
  const auto reaches = [time](std::int64_t least) { return time >= least || time <= -least; };
  if (!reaches(kLeastSeconds)) return kNone;
  if (!reaches(kLeastMilliseconds)) return kSeconds;
  if (!reaches(kLeastMicroseconds)) return kMilliseconds;
  return reaches(kLeastNanoseconds) ? kNanoseconds : kMicroseconds;
}

void TimeCensus::add(std::int64_t time, std::int64_t line) {
  Of& of = of_[unit_of(time)];
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
    throw Error(
        Cause::data,
        text(path, ":", too_early ? of.line_of_least : of.line_of_most,
             ": the units of the times cannot be told apart: by their sizes they are ",
             join(counts, " and "), ", and ", too_early ? of.least : of.most, " would be a date ",
             too_early ? "before 1980" : "after 2100", "; write all of them in Unix seconds"));
  }
}

TimeCensus::Settled TimeCensus::settle(const std::string& path, std::span<std::int64_t> times,
                                       std::span<std::int32_t> billionths) const {
  CHECK_EQ(times.size(), billionths.size());
  const auto most = std::max_element(of_.begin() + kSeconds, of_.end(),
                                     [](const Of& a, const Of& b) { return a.count < b.count; });
  if (most->count == 0) {
    return {TimeScale::order, text("times are positions, ", with_commas(of_[kNone].least), " to ",
                                   with_commas(of_[kNone].most))};
  }
  const auto units =
      std::count_if(of_.begin() + kSeconds, of_.end(), [](const Of& of) { return of.count > 0; });
  if (units > 1) refuse_mixture(path);
  const auto of_file = static_cast<std::size_t>(most - of_.begin());
  const bool are_seconds = units == 1 && of_file == kSeconds;
  for (std::size_t i = 0; !are_seconds && i < times.size(); ++i) {
    const std::size_t own = unit_of(times[i]);
    const std::int64_t per_second = kPerSecond[own == kNone ? of_file : own];
    const std::int64_t rest = (times[i] % per_second + per_second) % per_second;
    times[i] = floor_divided(times[i], per_second);
    billionths[i] = static_cast<std::int32_t>(rest * (kPerSecond[kNanoseconds] / per_second) +
                                              billionths[i] / per_second);
  }
  std::string words = text("times in ", kNames[of_file]);
  for (std::size_t unit = kSeconds; unit < kUnits; ++unit) {
    if (unit == of_file || of_[unit].count == 0) continue;
    words += text(", ", with_commas(of_[unit].count), " of them in ", kNames[unit]);
  }
  return {TimeScale::dates, words};
}

}  // namespace micrec
