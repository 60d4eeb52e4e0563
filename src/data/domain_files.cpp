#include "data/domain_files.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "base/timer.h"
#include "data/dataset_format.h"
#include "io/paths.h"

namespace micrec {

DomainFiles parse_domain_files(const std::string& argument, bool is_split) {
  const std::size_t equals = argument.find('=');
  const std::string expected =
      is_split ? "DOMAIN=TRAIN_FILE,TEST_FILE or DOMAIN=TRAIN_FILE,VALID_FILE,TEST_FILE, as in "
                 "checkins=train.txt,test.txt"
               : "DOMAIN=FILE, as in food=food.interactions.csv.gz";
  if (equals == std::string::npos || equals + 1 == argument.size()) {
    throw Error(Cause::usage, "Cannot read the argument '", argument, "': expected ", expected,
                ".");
  }
  DomainFiles files;
  files.name = argument.substr(0, equals);
  files.is_split = is_split;
  constexpr std::size_t kLongestName = 100;  // bytes; files of results have it in their names
  if (!dataset_format::is_valid_name(files.name) || files.name.size() > kLongestName) {
    throw Error(Cause::usage, "'", files.name, "' cannot be the name of a domain: expected 1 to ",
                kLongestName, " letters, digits, '_', '-' and '.', and not 'key'.");
  }
  const std::string paths = argument.substr(equals + 1);
  files.paths = split_paths(paths);
  // Commas and quotes inside of one path are characters; quotes around the whole are not.
  if (!is_split && (files.paths.size() != 1 || !paths.starts_with('"'))) files.paths = {paths};
  if (is_split && (files.paths.size() < 2 || files.paths.size() > 3)) {
    throw Error(Cause::usage, "--split=files: ", argument, " names ", files.paths.size(),
                files.paths.size() == 1 ? " file" : " files", "; expected ", expected,
                " (double quotes go around a path with commas).");
  }
  if (std::ranges::find(files.paths, "") != files.paths.end()) {
    throw Error(Cause::usage, is_split ? "--split=files: " : "The argument ", argument,
                " lacks the name of a file; expected ", expected, ".");
  }
  return files;
}

namespace {

Split split_of(SplitLabel label) {
  switch (label) {
    case SplitLabel::train:
      return Split::train;
    case SplitLabel::valid:
      return Split::valid;
    case SplitLabel::test:
      break;
  }
  return Split::test;
}

/// Refuses TRAIN,TEST for the one file that is expected.
void refuse_list_of_files(const std::string& path) {
  if (path.find(',') == std::string::npos || look_at(path) != PathKind::missing) return;
  throw Error(Cause::io, "cannot open ", path,
              ": No such file or directory; the files of a published split, TRAIN,TEST or "
              "TRAIN,VALID,TEST, need --split=files");
}

/// A line of the report: what was read and what it was taken for.
void report_file(const DomainFiles& files, const std::string& path,
                 const InteractionsSummary& summary, const std::vector<std::string>& details,
                 std::ostream& report) {
  std::vector<std::string> words = summary.in_words();
  words.insert(words.end(), details.begin(), details.end());
  report << files.name << ": " << path << ": " << with_commas(summary.interactions)
         << " interactions read (" << join(words, "; ") << ")\n";
  if (!summary.unused_label.empty()) {
    report << files.name << ": the column " << summary.unused_label
           << " holds a published split, which is not used; --split=column takes it\n";
  }
}

/// Numbers the keys of a part's interactions.
void take_keys(std::span<const Interaction> part, std::string_view Interaction::*key,
               KeyTable& table, PackedColumn<std::int32_t>& column) {
  PackedColumn<std::int32_t>::Block numbers;
  for (; !part.empty(); part = part.subspan(std::min(part.size(), numbers.size()))) {
    const auto some = part.first(std::min(part.size(), numbers.size()));
    table.add_all(some, key, std::span<std::int32_t>(numbers));
    column.append(std::span(numbers).first(some.size()));
  }
}

/// What was rounded off of the time that comes next; zeros are kept from the first other one on.
void add_billionths(std::int32_t rest, RawDomain& raw) {
  if (rest == 0 && raw.billionths.empty()) return;
  raw.billionths.fill_up(raw.timestamp.size(), 0);
  raw.billionths.push_back(rest);
}

void take_times(std::span<const Interaction> part, RawDomain& raw, TimeCensus& census) {
  for (const Interaction& interaction : part) {
    if (interaction.label) raw.given_split.push_back(split_of(*interaction.label));
    if (!interaction.timestamp) continue;
    add_billionths(interaction.billionths, raw);
    raw.timestamp.push_back(*interaction.timestamp);
    census.add(*interaction.timestamp, interaction.line);
  }
}

/// Makes seconds of the times from `begin` on.
void make_seconds(const TimeCensus& census, std::size_t begin, RawDomain& raw) {
  RawDomain made;
  PackedReader<std::int64_t> times(raw.timestamp);
  PackedReader<std::int32_t> rests(raw.billionths);
  for (std::size_t i = 0; i < raw.timestamp.size(); ++i) {
    TimeCensus::Time time{times[i], i < raw.billionths.size() ? rests[i] : 0};
    if (i >= begin) time = census.in_seconds(time);
    add_billionths(time.billionths, made);
    made.timestamp.push_back(time.whole);
  }
  raw.timestamp = std::move(made.timestamp);
  raw.billionths = std::move(made.billionths);
}

/// Appends what a file has to the columns of a domain.
InteractionsSummary read_file(const std::string& path, const InteractionsOptions& options,
                              RawDomain& raw, std::optional<TimeCensus::Settled>* times) {
  const std::size_t begin = raw.timestamp.size();
  TimeCensus census;
  const std::vector<UseInteractions> uses = {
      [&](auto part) { take_keys(part, &Interaction::user, raw.users, raw.user); },
      [&](auto part) { take_keys(part, &Interaction::item, raw.items, raw.item); },
      [&](auto part) { take_times(part, raw, census); },
  };
  InteractionsSummary summary = for_each_part(path, options, uses);
  if (!summary.has_timestamps || raw.timestamp.size() == begin) return summary;
  *times = census.settle(path);
  if (!census.are_seconds()) make_seconds(census, begin, raw);
  return summary;
}

}  // namespace

std::vector<DomainFiles> parse_domains(const std::vector<std::string>& arguments, bool is_split) {
  std::vector<DomainFiles> domains;
  for (const std::string& argument : arguments) {
    DomainFiles files = parse_domain_files(argument, is_split);
    const auto same = std::ranges::find(domains, files.name, &DomainFiles::name);
    if (same != domains.end()) {
      throw Error(Cause::usage, "The domain ", files.name, " is given twice, as ",
                  join(same->paths, ","), " and as ", join(files.paths, ","),
                  "; put its files together in one.");
    }
    domains.push_back(std::move(files));
  }
  return domains;
}

RawDomain read_domain(const DomainFiles& files, const InteractionsOptions& options,
                      std::ostream& report) {
  CHECK(!files.paths.empty());
  RawDomain raw;
  raw.name = files.name;
  const std::string* without_times = nullptr;
  std::int64_t below_min_rating = 0;
  for (std::size_t f = 0; f < files.paths.size(); ++f) {
    const Timer timer;
    const std::string& path = files.paths[f];
    if (!files.is_split) refuse_list_of_files(path);
    const Split given = f == 0                        ? Split::train
                        : f + 1 == files.paths.size() ? Split::test
                                                      : Split::valid;
    std::optional<TimeCensus::Settled> settled;
    const InteractionsSummary summary = read_file(path, options, raw, &settled);
    below_min_rating += summary.below_min_rating;
    if (files.is_split) raw.given_split.fill_up(raw.user.size(), given);
    std::vector<std::string> details;
    if (files.is_split) details.emplace_back(name_of(given));
    if (!summary.has_timestamps) without_times = &path;
    if (settled) {
      details.push_back(settled->in_words);
      if (raw.time_scale && *raw.time_scale != settled->scale) {
        throw Error(
            Cause::data, path, ": its times are ",
            settled->scale == TimeScale::dates ? "dates and those of " : "positions and those of ",
            files.paths[0], settled->scale == TimeScale::dates ? " are positions" : " are dates",
            "; give both the same, or leave the times out with --columns=USER,ITEM.");
      }
      raw.time_scale = settled->scale;
    }
    details.push_back(in_time(timer.seconds()));
    report_file(files, path, summary, details, report);
  }
  if (raw.user.empty() && below_min_rating > 0) {
    throw Error(Cause::data, "The domain ", files.name, " has no interaction left: all ",
                with_commas(below_min_rating),
                " have a lower rating than --min_rating=", *options.min_rating,
                "; give a lower one.");
  }
  if (without_times != nullptr) {
    if (!raw.timestamp.empty()) {
      report << files.name << ": the times of the other files are not used, as " << *without_times
             << " has none\n";
    }
    raw.timestamp = {};
    raw.billionths = {};
    raw.time_scale.reset();
  }
  if (!raw.billionths.empty()) raw.billionths.fill_up(raw.timestamp.size(), 0);
  CHECK(raw.timestamp.empty() || raw.timestamp.size() == raw.user.size());
  CHECK(raw.given_split.empty() || raw.given_split.size() == raw.user.size());
  return raw;
}

}  // namespace micrec
