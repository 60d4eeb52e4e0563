#include "io/tables/interaction_delivery.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr double kMostExactInteger = 9007199254740992.0;  // 2^53
constexpr std::int32_t kBillion = 1'000'000'000;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool looks_like_date(std::string_view value) {
  return value.find_first_of("-/:", 1) != std::string_view::npos &&
         value.find_first_of("0123456789") != std::string_view::npos;
}

/// A loop: looking for two letters through the library takes several times as long.
bool has_line_end(std::string_view value) {
  bool has = false;
  for (const char letter : value) has |= letter == '\r' || letter == '\n';
  return has;
}

/// A number with a comma where we write a point.
const char* comma_hint(std::string_view value) {
  const bool is_one = std::ranges::count(value, ',') == 1 &&
                      value.find_first_not_of("+-0123456789,") == std::string_view::npos;
  return is_one ? "; write decimals with a point" : "";
}

std::optional<SplitLabel> parse_label(std::string_view value) {
  if (const auto number = parse_real(value)) {
    if (*number == 0) return SplitLabel::train;
    if (*number == 1) return SplitLabel::valid;
    if (*number == 2) return SplitLabel::test;
    return std::nullopt;
  }
  const std::string word = small_letters(value);
  if (word == "train" || word == "training") return SplitLabel::train;
  if (word == "valid" || word == "validation" || word == "val" || word == "dev") {
    return SplitLabel::valid;
  }
  if (word == "test") return SplitLabel::test;
  return std::nullopt;
}

}  // namespace

const Names& names_of(Role role) {
  // Ours, Amazon's, MovieLens's, RecBole's and MMRec's.
  static const std::array<Names, kRoles> names = {
      Names{"user_id", "reviewerid", "userid", "user", "uid"},
      Names{"item_id", "parent_asin", "asin", "itemid", "item", "iid", "product_id", "productid",
            "movieid", "movie_id"},
      Names{"timestamp", "unixreviewtime", "unix_time", "unixtime", "time"},
      Names{"rating", "overall", "score", "stars"},
      Names{"x_label"},
  };
  return names[index(role)];
}

const char* word_for(Role role) {
  constexpr std::array<const char*, kRoles> kWords = {"user", "item", "time", "rating", "split"};
  return kWords[index(role)];
}

std::optional<ParsedTime> parse_time(std::string_view value) {
  if (const auto whole = parse_integer(value)) return ParsedTime{.whole = *whole};
  const auto real = parse_real(value);
  if (!real || !(std::abs(*real) < kMostExactInteger)) return std::nullopt;
  const std::size_t point = value.find('.');
  const auto before = parse_integer(value.substr(0, point));
  if (!before || point == std::string_view::npos || value.find_first_of("eE") != value.npos) {
    const double whole = std::floor(*real);
    return ParsedTime{.whole = static_cast<std::int64_t>(whole),
                      .billionths = static_cast<std::int32_t>((*real - whole) * kBillion)};
  }
  // A double holds ten digits of seconds and six more; the text may have nine.
  std::int32_t billionths = 0;
  for (std::size_t digit = 1; digit <= 9; ++digit) {
    const std::size_t at = point + digit;
    billionths = 10 * billionths + (at < value.size() ? value[at] - '0' : 0);
  }
  if (value.front() != '-' || billionths == 0) {
    return ParsedTime{.whole = *before, .billionths = billionths};
  }
  return ParsedTime{.whole = *before - 1, .billionths = kBillion - billionths};
}

std::optional<double> parse_rating(std::string_view value) {
  const auto rating = parse_real(value);
  return rating && std::isfinite(*rating) ? rating : std::nullopt;
}

ColumnNames parse_columns(const std::string& columns) {
  ColumnNames out;
  const Names parts = split(columns, ',');
  if (parts.empty()) return out;
  out.given = true;
  int numbers = 0;
  int named = 0;
  for (std::size_t i = 0; i < parts.size() && i < out.names.size(); ++i) {
    out.names[i] = std::string(trim(parts[i]));
    if (out.names[i].empty()) continue;
    const auto number = parse_integer(out.names[i]);
    ++(number && *number >= 1 ? numbers : named);
  }
  if (parts.size() < 2 || parts.size() > kRoles || out.of(Role::user).empty() ||
      out.of(Role::item).empty() || (numbers > 0 && named > 0)) {
    throw Error(Cause::usage, "columns ", excerpt(columns),
                ": expected user,item[,timestamp[,rating[,split]]], all of them names or all "
                "numbers from 1, for example user_id,item_id,timestamp or 1,2,4");
  }
  out.numbers = numbers > 0;
  for (std::size_t i = 0; i < kRoles; ++i) {
    for (std::size_t j = i + 1; j < kRoles; ++j) {
      const bool same = out.names[i] == out.names[j] ||
                        (out.numbers && parse_integer(out.names[i]) == parse_integer(out.names[j]));
      if (out.names[i].empty() || !same) continue;
      throw Error(Cause::usage, "columns ", excerpt(columns), ": ", excerpt(out.names[i]),
                  " is named twice, as ", word_for(static_cast<Role>(i)), " and as ",
                  word_for(static_cast<Role>(j)));
    }
  }
  return out;
}

std::string did_you_mean(std::string_view name, const Names& there) {
  const auto near = nearest(name, there);
  return near ? text("; did you mean ", excerpt(*near), "?") : "";
}

std::optional<std::size_t> find_any(const Names& there, const Names& candidates) {
  for (const std::string& name : candidates) {
    const auto found = std::ranges::find(there, name);
    if (found != there.end()) return static_cast<std::size_t>(found - there.begin());
  }
  return std::nullopt;
}

void refuse_empty(const std::string& path, const char* what) {
  throw Error(Cause::data, path, ": ", what, "; expected interactions of users and items");
}

const char* problem_of_key(std::string_view key) {
  if (key.empty()) return "is empty";
  if (trim(key).size() != key.size()) return "has spaces or tabs around it; take them off";
  if (!simdjson::validate_utf8(key.data(), key.size())) {
    return "is not UTF-8; convert the file to UTF-8";
  }
  if (key.find('\0') != std::string_view::npos) return "has a zero byte inside";
  if (!key.starts_with(kByteOrderMark)) return nullptr;
  return "begins with a byte order mark, as where files were joined; take the marks out";
}

std::string Delivery::take_key(Role role, const Key& key, std::string_view& out) {
  const char* what = word_for(role);
  out = trim(key.value);
  if (out.size() != key.value.size()) ++summary_.trimmed_keys;
  if (const char* const problem = problem_of_key(out)) return text("the ", what, " key ", problem);
  if (!key.exact) {
    if (has_line_end(out)) {
      return text("the ", what, " key ", excerpt(out),
                  " has a line end inside; the line ends of the file are mixed, make all of them "
                  "LF");
    }
    if (out.size() > 1 && out.front() == '"' && out.back() == '"') ++summary_.quoted_keys;
  }
  return "";
}

std::string Delivery::take_time(std::string_view value, Interaction& out) const {
  if (const auto time = parse_time(trim(value))) {
    out.timestamp = time->whole;
    out.billionths = time->billionths;
    return "";
  }
  return text("expected a time as a number (Unix seconds), got ", excerpt(value),
              looks_like_date(value) ? "; convert dates to Unix seconds" : comma_hint(value),
              time_hint_);
}

std::string Delivery::take(const Record& record, Interaction& out) {
  std::string problem = take_key(Role::user, record.user, out.user);
  if (problem.empty()) problem = take_key(Role::item, record.item, out.item);
  if (problem.empty() && record.timestamp) problem = take_time(*record.timestamp, out);
  if (!problem.empty()) return problem;
  if (record.rating && !trim(*record.rating).empty()) {
    out.rating = parse_rating(trim(*record.rating));
    if (!out.rating) {
      return text("expected a rating as a number, got ", excerpt(*record.rating),
                  comma_hint(*record.rating));
    }
  }
  if (min_rating_ && !out.rating) return "the rating is missing, but a least rating is asked for";
  if (record.label) {
    out.label = parse_label(trim(*record.label));
    if (!out.label) {
      return text("expected 0 (training), 1 (validation) or 2 (test) for the split, got ",
                  excerpt(*record.label));
    }
  }
  return "";
}

void InteractionsSummary::add_counts(const InteractionsSummary& part) {
  interactions += part.interactions;
  below_min_rating += part.below_min_rating;
  repeated_headers += part.repeated_headers;
  fields_over_lines += part.fields_over_lines;
  trimmed_keys += part.trimmed_keys;
  quoted_keys += part.quoted_keys;
}

std::vector<std::string> InteractionsSummary::in_words() const {
  std::vector<std::string> all = {text(format, " ", why)};
  if (!columns.empty()) all.push_back(columns);
  const auto remark = [&all](std::int64_t count, const char* one, const char* more) {
    if (count > 0) all.push_back(text(with_commas(count), count == 1 ? one : more));
  };
  remark(below_min_rating, " below the least rating left out", " below the least rating left out");
  remark(repeated_headers, " line that repeats the header left out",
         " lines that repeat the header left out");
  remark(fields_over_lines, " field in quotes goes over several lines",
         " fields in quotes go over several lines");
  remark(trimmed_keys, " key had spaces around it, which are left out",
         " keys had spaces around them, which are left out");
  remark(quoted_keys, " key begins and ends with a quote, which is kept",
         " keys begin and end with a quote, which is kept");
  return all;
}

}  // namespace micrec
