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
#include "data/growing_column.h"
#include "io/paths.h"

namespace micrec {

DomainFiles parse_domain_files(const std::string& argument, bool is_split) {
  const std::size_t equals = argument.find('=');
  const std::string expected =
      is_split ? "DOMAIN=TRAIN_FILE,TEST_FILE or DOMAIN=TRAIN_FILE,VALID_FILE,TEST_FILE, as in "
                 "checkins=train.txt,test.txt"
               : "DOMAIN=FILE, as in food=food.interactions.csv.gz";
  if (equals == std::string::npos || equals + 1 == argument.size()) {
    throw Error(Cause::usage,
                text("Cannot read the argument '", argument, "': expected ", expected, "."));
  }
  DomainFiles files;
  files.name = argument.substr(0, equals);
  files.is_split = is_split;
  if (!dataset_format::is_valid_name(files.name)) {
    throw Error(Cause::usage, text("'", files.name,
                                   "' cannot be the name of a domain: expected letters, digits, "
                                   "'_', '-' and '.', and not 'key'."));
  }
  const std::string paths = argument.substr(equals + 1);
  files.paths = split_paths(paths);
  // Commas and quotes inside of one path are characters; quotes around the whole are not.
  if (!is_split && (files.paths.size() != 1 || !paths.starts_with('"'))) files.paths = {paths};
  if (is_split && (files.paths.size() < 2 || files.paths.size() > 3)) {
    throw Error(Cause::usage, text("--split=files: ", argument, " names ", files.paths.size(),
                                   files.paths.size() == 1 ? " file" : " files", "; expected ",
                                   expected, " (double quotes go around a path with commas)."));
  }
  if (std::find(files.paths.begin(), files.paths.end(), "") != files.paths.end()) {
    throw Error(Cause::usage, text(is_split ? "--split=files: " : "The argument ", argument,
                                   " lacks the name of a file; expected ", expected, "."));
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
  throw Error(Cause::io,
              text("cannot open ", path,
                   ": No such file or directory; the files of a published split, TRAIN,TEST or "
                   "TRAIN,VALID,TEST, need --split=files"));
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

/// What a file has, in columns that grow.
struct FileColumns {
  GrowingColumn<std::int32_t> user;
  GrowingColumn<std::int32_t> item;
  GrowingColumn<std::int64_t> timestamp;
  std::vector<std::int32_t> billionths;  // empty while all are zero
  GrowingColumn<Split> label;
  TimeCensus census;
};

/// Numbers the keys of a part's interactions.
void number_keys(std::span<const Interaction> part, std::string_view Interaction::*key,
                 KeyTable& table, GrowingColumn<std::int32_t>& numbers) {
  while (!part.empty()) {
    const std::span<std::int32_t> room = numbers.grow(part.size());
    table.add_all(part.first(room.size()), key, room);
    part = part.subspan(room.size());
  }
}

void take_times(std::span<const Interaction> part, FileColumns& columns) {
  for (const Interaction& interaction : part) {
    if (interaction.label) columns.label.push_back(split_of(*interaction.label));
    if (!interaction.timestamp) continue;
    if (interaction.billionths != 0 || !columns.billionths.empty()) {
      columns.billionths.resize(columns.timestamp.size() + 1, 0);
      columns.billionths.back() = interaction.billionths;
    }
    columns.timestamp.push_back(*interaction.timestamp);
    columns.census.add(*interaction.timestamp, interaction.line);
  }
}

/// Reads a file behind what `raw` has; times become seconds, or positions.
InteractionsSummary read_file(const std::string& path, const InteractionsOptions& options,
                              RawDomain& raw, std::optional<TimeCensus::Settled>* times) {
  FileColumns columns;
  const std::vector<UseInteractions> uses = {
      [&](auto part) { number_keys(part, &Interaction::user, raw.users, columns.user); },
      [&](auto part) { number_keys(part, &Interaction::item, raw.items, columns.item); },
      [&](auto part) { take_times(part, columns); },
  };
  InteractionsSummary summary = for_each_part(path, options, uses);
  const std::size_t begin = raw.timestamp.size();
  columns.user.move_to(raw.user);
  columns.item.move_to(raw.item);
  columns.timestamp.move_to(raw.timestamp);
  columns.label.move_to(raw.given_split);
  if (!summary.has_timestamps || raw.timestamp.size() == begin) return summary;

  std::vector<std::int32_t>& billionths = columns.billionths;
  const std::span<std::int64_t> timestamps = std::span(raw.timestamp).subspan(begin);
  if (!billionths.empty() || !columns.census.are_settled()) billionths.resize(timestamps.size(), 0);
  *times = columns.census.settle(path, timestamps, billionths);
  const bool all_zero = std::all_of(billionths.begin(), billionths.end(),
                                    [](std::int32_t rest) { return rest == 0; });
  if (all_zero && raw.billionths.empty()) return summary;
  raw.billionths.resize(begin, 0);
  raw.billionths.insert(raw.billionths.end(), billionths.begin(), billionths.end());
  raw.billionths.resize(raw.timestamp.size(), 0);
  return summary;
}

}  // namespace

std::vector<DomainFiles> parse_domains(const std::vector<std::string>& arguments, bool is_split) {
  std::vector<DomainFiles> domains;
  for (const std::string& argument : arguments) {
    DomainFiles files = parse_domain_files(argument, is_split);
    const auto same = std::ranges::find(domains, files.name, &DomainFiles::name);
    if (same != domains.end()) {
      throw Error(Cause::usage,
                  text("The domain ", files.name, " is given twice, as ", join(same->paths, ","),
                       " and as ", join(files.paths, ","), "; put its files together in one."));
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
  for (std::size_t f = 0; f < files.paths.size(); ++f) {
    const Timer timer;
    const std::string& path = files.paths[f];
    if (!files.is_split) refuse_list_of_files(path);
    const Split given = f == 0                        ? Split::train
                        : f + 1 == files.paths.size() ? Split::test
                                                      : Split::valid;
    std::optional<TimeCensus::Settled> settled;
    const InteractionsSummary summary = read_file(path, options, raw, &settled);
    if (files.is_split) raw.given_split.resize(raw.user.size(), given);
    std::vector<std::string> details;
    if (files.is_split) details.emplace_back(name_of(given));
    if (!summary.has_timestamps) without_times = &path;
    if (settled) {
      details.push_back(settled->in_words);
      if (raw.time_scale && *raw.time_scale != settled->scale) {
        throw Error(Cause::data,
                    text(path, ": its times are ",
                         settled->scale == TimeScale::dates ? "dates and those of "
                                                            : "positions and those of ",
                         files.paths[0],
                         settled->scale == TimeScale::dates ? " are positions" : " are dates",
                         "; give both the same, or leave the times out with --columns=USER,ITEM."));
      }
      raw.time_scale = settled->scale;
    }
    details.push_back(in_time(timer.seconds()));
    report_file(files, path, summary, details, report);
  }
  if (without_times != nullptr) {
    if (!raw.timestamp.empty()) {
      report << files.name << ": the times of the other files are not used, as " << *without_times
             << " has none\n";
    }
    raw.timestamp.clear();
    raw.billionths.clear();
    raw.time_scale.reset();
  }
  CHECK(raw.billionths.empty() || raw.billionths.size() == raw.timestamp.size());
  CHECK(raw.timestamp.empty() || raw.timestamp.size() == raw.user.size());
  CHECK(raw.given_split.empty() || raw.given_split.size() == raw.user.size());
  return raw;
}

}  // namespace micrec
