#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace micrec {

/// What times count from: 1970, or nothing that is known, as where they are mere positions.
enum class TimeScale : std::uint8_t { dates, order };

/// What times in seconds, or positions, count from: dates where any is one by its size.
TimeScale scale_of(std::span<const std::int64_t> times);

/// The times of one file as they stand in it. Their units are told by their size: a date since 1973
/// has less than 12 digits in seconds, 12 to 14 in milliseconds, and so on.
///
/// The unit of most is the file's. Numbers below 100 million cannot be dates of their own and count
/// in the file's unit; where there is nothing else, they are positions.
///
/// Errors   settle(): Error(Cause::data) with file and line where times of two units do not all lie
///          between 1980 and 2100, so that they may as well be of one; where most times of the file
///          are dates written as numbers (20161101, 20161101120009); where most lie between 1980
///          and 2100 in no unit and are no positions.
class TimeCensus {
 public:
  void add(std::int64_t time, std::int64_t line);

  struct Settled {
    TimeScale scale = TimeScale::order;
    std::string in_words;  // "times in milliseconds"
  };
  /// What the times are, once all have come.
  Settled settle(const std::string& path) const;

  struct Time {
    std::int64_t whole = 0;
    std::int32_t billionths = 0;  // of its unit, for the order of times
  };
  /// A time of the file in seconds, rounded down; what lies below is kept.
  Time in_seconds(const Time& time) const;
  /// Whether in_seconds() leaves all times as they are: seconds, or positions.
  bool are_seconds() const;

 private:
  enum Unit : std::uint8_t { kNone, kSeconds, kMilliseconds, kMicroseconds, kNanoseconds };
  static constexpr std::size_t kUnits = 5;
  struct Of {
    std::int64_t count = 0;
    std::int64_t least = 0;
    std::int64_t most = 0;
    std::int64_t line_of_least = 0;
    std::int64_t line_of_most = 0;
  };
  /// Times that are no Unix time, and the first of them.
  struct Odd {
    std::int64_t count = 0;
    std::int64_t first = 0;
    std::int64_t line_of_first = 0;
    void add(std::int64_t time, std::int64_t line);
  };
  static Unit unit_of(std::int64_t time);
  std::size_t unit_of_file() const;
  std::int64_t count() const;
  void refuse_written_dates(const std::string& path) const;
  void refuse_mixture(const std::string& path) const;
  void refuse_other_centuries(const std::string& path) const;

  std::array<Of, kUnits> of_;
  Odd written_dates_;    // 20161101 and the like
  Odd other_centuries_;  // before 1980 or after 2100 by their size
};

}  // namespace micrec
