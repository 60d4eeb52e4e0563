#include "command_line/flag_value.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>

#include "base/path_list.h"
#include "base/text.h"

// gflags reads the values, one flag of each type for all; the flags of the commands are fields of
// their options, so that nothing global decides what a run does.
DEFINE_bool(read_bool, false, "");
DEFINE_int32(read_int32, 0, "");
DEFINE_int64(read_int64, 0, "");
DEFINE_uint64(read_uint64, 0, "");
DEFINE_double(read_double, 0, "");

namespace micrec {
namespace {

/// Sets the field from the gflag of its type.
template <typename Value>
std::function<bool(const std::string&)> read_by(const char* gflag, const Value& value,
                                                Value& field) {
  return [gflag, &value, &field](const std::string& text) {
    if (gflags::SetCommandLineOption(gflag, text.c_str()).empty()) return false;
    field = value;
    return true;
  };
}

std::optional<double> parse_finite(std::string_view text) {
  const std::optional<double> number = parse_real(text);
  return number && std::isfinite(*number) ? number : std::nullopt;
}

/// The shortest text that reads back as the same number.
std::string shortest(double number) {
  char letters[32];
  const std::to_chars_result end = std::to_chars(letters, letters + sizeof letters, number);
  return {letters, end.ptr};
}

/// Reads numbers with commas between; nothing where one is none.
template <typename Number, typename Parse>
std::optional<std::vector<Number>> numbers_in(const std::string& text, Parse parse) {
  std::vector<Number> numbers;
  for (const std::string& part : split(text, ',')) {
    const std::optional<Number> one = parse(part);
    if (!one) return std::nullopt;
    numbers.push_back(*one);
  }
  return numbers;
}

/// The words of numbers with commas between.
template <typename Number, typename Print>
std::string joined(const std::vector<Number>& numbers, Print print) {
  std::vector<std::string> words;
  std::ranges::transform(numbers, std::back_inserter(words), print);
  return join(words, ",");
}

}  // namespace

FlagValue::FlagValue(Kind kind, Read read, Write write, std::vector<std::string> choices)
    : kind_(kind),
      read_(std::move(read)),
      write_(std::move(write)),
      choices_(std::move(choices)),
      default_(read_()) {}

FlagValue FlagValue::as_written(Kind kind, const std::string& now, Write write) {
  const auto written = std::make_shared<std::string>(now);
  return {kind, [written] { return *written; },
          [written, write = std::move(write)](const std::string& text) {
            if (!write(text)) return false;
            *written = text;
            return true;
          }};
}

FlagValue::FlagValue(bool& field)
    : FlagValue(
          Kind::on_off, [&field] { return std::string(field ? "true" : "false"); },
          read_by("read_bool", FLAGS_read_bool, field)) {}

FlagValue::FlagValue(int& field)
    : FlagValue(
          Kind::whole, [&field] { return std::to_string(field); },
          read_by("read_int32", FLAGS_read_int32, field)) {}

FlagValue::FlagValue(std::int64_t& field)
    : FlagValue(
          Kind::whole, [&field] { return std::to_string(field); },
          read_by("read_int64", FLAGS_read_int64, field)) {}

FlagValue::FlagValue(std::uint64_t& field)
    : FlagValue(
          Kind::whole, [&field] { return std::to_string(field); },
          read_by("read_uint64", FLAGS_read_uint64, field)) {}

FlagValue::FlagValue(double& field)
    : FlagValue(
          Kind::real, [&field] { return shortest(field); },
          read_by("read_double", FLAGS_read_double, field)) {}

FlagValue::FlagValue(std::string& field)
    : FlagValue(
          Kind::words, [&field] { return field; },
          [&field](const std::string& text) {
            field = text;
            return true;
          }) {}

FlagValue::FlagValue(std::vector<std::int64_t>& field)
    : FlagValue(
          as_written(Kind::whole_list,
                     joined(field, [](std::int64_t number) { return std::to_string(number); }),
                     [&field](const std::string& text) {
                       const auto numbers = numbers_in<std::int64_t>(text, parse_integer);
                       if (numbers) field = *numbers;
                       return numbers.has_value();
                     })) {}

FlagValue::FlagValue(std::vector<std::string>& field)
    : FlagValue(as_written(Kind::words, join(field, ","), [&field](const std::string& text) {
        field = split_words(text);
        return true;
      })) {}

FlagValue::FlagValue(std::vector<double>& field)
    : FlagValue(as_written(Kind::words, field.empty() ? "auto" : joined(field, shortest),
                           [&field](const std::string& text) {
                             const std::string numbers_text = text == "auto" ? "" : text;
                             const auto numbers = numbers_in<double>(numbers_text, parse_finite);
                             if (numbers) field = *numbers;
                             return numbers.has_value();
                           })) {}

FlagValue::FlagValue(std::optional<double>& field)
    : FlagValue(
          as_written(Kind::words, field ? shortest(*field) : "", [&field](const std::string& text) {
            const std::optional<double> number = parse_finite(text);
            if (!number && !text.empty()) return false;
            field = number;
            return true;
          })) {}

template <typename Number>
FlagValue positive_or_auto(Number& field) {
  constexpr const char* kAuto = "auto";
  const FlagValue number(field);
  return {FlagValue::Kind::words,
          [&field, number] { return field == 0 ? std::string(kAuto) : number.text(); },
          [&field, number](const std::string& text) {
            if (text != kAuto) return parse_finite(text).value_or(0) > 0 && number.set(text);
            field = 0;
            return true;
          }};
}
template FlagValue positive_or_auto(std::int64_t& field);
template FlagValue positive_or_auto(double& field);

}  // namespace micrec
