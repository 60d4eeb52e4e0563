#include "data/domain_files.h"

#include <glog/logging.h>

#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "data/dataset_format.h"

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
  files.paths = is_split ? split(paths, ',') : std::vector<std::string>{paths};
  if (is_split && (files.paths.size() < 2 || files.paths.size() > 3)) {
    throw Error(Cause::usage,
                text("--split=files: ", argument, " names ", files.paths.size(),
                     files.paths.size() == 1 ? " file" : " files", "; expected ", expected, "."));
  }
  return files;
}

RawDomain read_domain(const DomainFiles& files, const InteractionsOptions& options,
                      std::ostream& report) {
  CHECK(!files.paths.empty());
  RawDomain raw;
  raw.name = files.name;
  bool all_have_timestamps = true;
  for (std::size_t f = 0; f < files.paths.size(); ++f) {
    const Timer timer;
    const std::string& path = files.paths[f];
    const Split given = f == 0                        ? Split::train
                        : f + 1 == files.paths.size() ? Split::test
                                                      : Split::valid;
    const InteractionsSummary summary =
        for_each_interaction(path, options, [&](const Interaction& interaction) {
          raw.user.push_back(raw.users.add(interaction.user));
          raw.item.push_back(raw.items.add(interaction.item));
          if (interaction.timestamp) raw.timestamp.push_back(*interaction.timestamp);
          if (files.is_split) raw.given_split.push_back(given);
        });
    all_have_timestamps = all_have_timestamps && summary.has_timestamps;
    report << files.name << ": " << path << ": " << with_commas(summary.interactions)
           << " interactions read (" << summary.format;
    if (files.is_split) report << "; " << name_of(given);
    if (summary.below_min_rating > 0) {
      report << "; " << with_commas(summary.below_min_rating) << " below the least rating left out";
    }
    report << "; " << in_time(timer.seconds()) << ")\n";
  }
  if (!all_have_timestamps) raw.timestamp.clear();
  CHECK(raw.timestamp.empty() || raw.timestamp.size() == raw.user.size());
  return raw;
}

}  // namespace micrec
