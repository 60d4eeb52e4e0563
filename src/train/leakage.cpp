#include "train/leakage.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/flagfile.h"
#include "base/text.h"
#include "io/paths.h"
#include "train/node_origins.h"
#include "train/run_start.h"

namespace micrec {
namespace {

/// Why the task failed; "" where it did not.
template <typename Task>
std::string failure_of(const Task& task) {
  try {
    task();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// How many interactions of a split were trained on, in words; "" where none was.
std::string leaked(const DatasetFile& now, const DatasetFile& then, const NodeOrigins& origins,
                   const NodeSpace& space, int domain, Split split) {
  const std::int64_t items = origins.then.items_of(domain).size();
  std::vector<std::int64_t> pairs;  // by their numbers then, as one number each
  now.for_each_interaction(domain, split, [&](std::int32_t user_now, std::int32_t item_now) {
    const std::int32_t user = origins.node[value(space.user(domain, user_now))];
    const std::int32_t item = origins.node[value(space.item(domain, item_now))];
    if (user < 0 || item < 0) return;
    pairs.push_back((user - origins.then.users_of(domain).begin) * items + item -
                    origins.then.items_of(domain).begin);
  });
  std::ranges::sort(pairs);
  std::int64_t count = 0;
  then.for_each_interaction(domain, Split::train, [&](std::int32_t user, std::int32_t item) {
    count += std::ranges::binary_search(pairs, user * items + item) ? 1 : 0;
  });
  const DomainInfo& info = now.domains()[domain];
  return count == 0
             ? ""
             : text(with_commas(count), " of ",
                    with_commas(info.interactions[static_cast<int>(split)]), " ",
                    split == Split::valid ? "validation" : "test", " interactions of ", info.name);
}

/// The same of all domains, for the data set of a run. Errors: those of opening it;
/// Error(checkpoint) where the file is another now.
std::vector<std::string> leaked_from(const CheckpointInfo& run, const DatasetFile& dataset) {
  // One that it extends has the same splits, as has the same one.
  if (run.dataset_fingerprint == dataset.fingerprint() ||
      origins_by_record(dataset, run.dataset_fingerprint)) {
    return {};
  }
  refuse_unreadable(run.dataset_path);
  const DatasetFile then = DatasetFile::open(run.dataset_path);
  if (then.fingerprint() != run.dataset_fingerprint) {
    throw Error(Cause::checkpoint, then.path(), " is another data set now");
  }
  const NodeOrigins origins = origins_by_keys(dataset, then);
  const NodeSpace space = node_space(dataset);
  std::vector<std::string> found;
  for (int d = 0; d < space.domains(); ++d) {
    for (const Split split : {Split::valid, Split::test}) {
      found.push_back(leaked(dataset, then, origins, space, d, split));
    }
  }
  std::erase(found, "");
  return found;
}

}  // namespace

void warn_of_leakage(const CheckpointInfo& begun_from, const DatasetFile& dataset,
                     std::ostream& log) {
  const auto unchecked = [&log](const std::string& what, const std::string& why) {
    log << "WARNING   leakage was not checked: whether " << what
        << " had what this run is validated and tested on in its training is unknown: " << why
        << "\n";
  };
  std::set<std::string> folders;
  std::optional<CheckpointInfo> run = begun_from;
  while (run) {
    std::vector<std::string> found;
    const std::string unread = failure_of([&] { found = leaked_from(*run, dataset); });
    if (!unread.empty()) unchecked(run->dataset_path, unread);
    if (!found.empty()) {
      log << "WARNING   leakage: " << join(found, ", ") << " were trained on before, in "
          << run->dataset_path
          << ", and this run's metrics are too high; micrec prepare --append keeps every split\n";
    }
    std::string folder;
    const std::string gone = failure_of([&] {
      for (const FlagSetting& setting : parse_flagfile(run->config, "config")) {
        if (setting.name == "init_from") folder = setting.value;
      }
      run.reset();
      if (folder.empty() || !folders.insert(folder).second) return;
      run = Checkpoint::open(checkpoint_to_begin_from(folder), Verify::sizes).info();
    });
    if (!gone.empty()) {
      unchecked(folder + ", with which it began,", gone);
      run.reset();
    }
  }
}

}  // namespace micrec
