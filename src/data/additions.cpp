#include "data/additions.h"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "data/dataset_format.h"
#include "data/interaction_rows.h"
#include "data/key_table.h"
#include "io/tables/interactions_reader.h"

namespace micrec {
namespace {

/// A domain of the data set, with the numbers of what comes behind those that it has.
struct KnownDomain {
  const DatasetFile& dataset;
  int number;
  const DomainInfo& info;
  KeyTable users;
  KeyTable items;
};

KnownDomain known_domain(const DatasetFile& dataset, int number) {
  return {dataset, number, dataset.domains()[number], number_keys(dataset.user_keys(number)),
          number_keys(dataset.item_keys(number))};
}

/// The keys that are not known, in their order, which are added to the known ones.
std::vector<std::string> add_new(const KeyTable& keys, KeyTable& known) {
  std::vector<std::string> added;
  for (const std::int32_t number : keys.sorted()) {
    if (known.find(keys.key(number)) < 0) added.emplace_back(keys.key(number));
  }
  for (const std::string& key : added) known.add(key);
  return added;
}

std::vector<std::int32_t> numbers_of(const KeyTable& keys, const KeyTable& known) {
  std::vector<std::int32_t> numbers;
  for (std::int32_t n = 0; n < keys.size(); ++n) numbers.push_back(known.find(keys.key(n)));
  return numbers;
}

/// Drops interactions that the data set has.
void drop_known(const KnownDomain& known, InteractionRows& rows, std::ostream& report) {
  std::vector<std::uint8_t> is_new(rows.size(), 1);
  std::int64_t count = 0;
  std::int64_t not_trained = 0;
  const auto pair_of = [&](std::size_t n) { return std::pair(rows.user[n], rows.item[n]); };
  for (const Split split : {Split::train, Split::valid, Split::test, Split::later}) {
    std::size_t at = 0;
    known.dataset.for_each_chunk(known.number, split, [&](const Interactions& chunk) {
      for (std::size_t n = 0; n < chunk.user.size() && at < rows.size(); ++n) {
        const std::pair pair(chunk.user[n], chunk.item[n]);
        while (at < rows.size() && pair_of(at) < pair) ++at;
        if (at == rows.size() || pair_of(at) != pair) continue;
        is_new[at] = 0;
        ++count;
        not_trained += split == Split::valid || split == Split::test;
      }
    });
  }
  if (count == 0) return;
  rows.keep_only(is_new);
  report << known.info.name << ": " << with_commas(count) << " of them are in "
         << known.dataset.path() << " already"
         << (not_trained > 0 ? text(", ", with_commas(not_trained),
                                    " of these for validation or test, where they stay")
                             : std::string())
         << "\n";
}

/// Columns of a modality in the data set; 0 where no domain has it.
std::int64_t width_of(const DatasetFile& dataset, const std::string& modality) {
  for (const DomainInfo& domain : dataset.domains()) {
    for (const ModalityInfo& info : domain.modalities) {
      if (info.name == modality) return info.width;
    }
  }
  return 0;
}

void refuse_other_width(const FeatureInput& input, const FeatureFile& file,
                        const DatasetFile& dataset, FeaturesOf kind) {
  const std::int64_t width = width_of(dataset, input.modality);
  if (width == 0 && kind == FeaturesOf::new_items) {
    throw Error(Cause::usage, dataset.path(), " has no modality '", input.modality,
                "', so nothing was learned about it; name one that micrec inspect tells of it.");
  }
  if (width == 0 || width == file.width()) return;
  throw Error(Cause::data, input.path, " has ", file.width(), " columns, and the modality ",
              input.modality, " of ", dataset.path(), " has ", width,
              "; encode it with the model that was taken there.");
}

/// Refuses rows of new items that are far longer than all that were trained on.
void refuse_longer_rows(const FeatureInput& input, const FeatureFile& file, double longest) {
  constexpr std::int64_t kBlockRows = 1024;
  const std::int64_t width = file.width();
  std::vector<float> block;
  for (std::int64_t begin = 0; begin < std::ssize(file.keys()); begin += kBlockRows) {
    const Range rows{begin, std::min(std::ssize(file.keys()), begin + kBlockRows)};
    block.resize(rows.size() * width);
    file.read_rows(rows, block.data());
    for (std::int64_t row = 0; row < rows.size(); ++row) {
      const std::string problem =
          problem_of_length(std::span(block).subspan(row * width, width), input.modality, longest);
      if (problem.empty()) continue;
      throw Error(Cause::data, input.path, ": the item ", excerpt(file.keys()[begin + row]), " ",
                  problem, ".");
    }
  }
}

/// Says how many items are told of by a feature file.
void tell_features(const FeatureInput& input, const FeatureFile& file, std::int64_t matched,
                   std::int64_t had_it, std::int64_t unknown, std::ostream& report) {
  report << input.domain << ": " << input.path << ": " << input.modality << " (" << file.width()
         << " wide) of " << with_commas(matched) << (matched == 1 ? " item" : " items")
         << " without it";
  if (had_it > 0) report << "; " << with_commas(had_it) << " have it already, and keep it";
  if (unknown > 0) report << "; " << with_commas(unknown) << " of its keys are not items here";
  report << "\n";
}

FeatureTable match(const FeatureInput& input, std::shared_ptr<const FeatureFile> file,
                   const KnownDomain& known, FeaturesOf kind, std::ostream& report) {
  std::vector<std::uint8_t> present;
  const bool has_it = std::ranges::find(known.info.modalities, input.modality,
                                        &ModalityInfo::name) != known.info.modalities.end();
  if (has_it) present = known.dataset.features_present(known.number, input.modality);
  present.resize(known.items.size(), 0);
  std::vector<std::int64_t> row_of_item(known.items.size(), -1);
  std::int64_t matched = 0;
  std::int64_t had_it = 0;
  std::int64_t unknown = 0;
  for (std::size_t row = 0; row < file->keys().size(); ++row) {
    const std::int32_t item = known.items.find(file->keys()[row]);
    if (item < 0) {
      ++unknown;
    } else if (kind == FeaturesOf::new_items && item < known.info.items) {
      throw Error(Cause::data, input.path, ": '", file->keys()[row], "' is an item of the domain ",
                  known.info.name, " already, in ", known.dataset.path(),
                  "; give new items alone: their features are what the model has of them.");
    } else if (present[item] != 0) {
      ++had_it;
    } else {
      row_of_item[item] = static_cast<std::int64_t>(row);
      ++matched;
    }
  }
  if (matched + had_it == 0) {
    throw Error(Cause::data, "None of the ", with_commas(std::ssize(file->keys())), " keys of ",
                input.path, " is an item of the domain ", known.info.name, ": it has keys like '",
                file->keys()[0], "'", " and the items have keys like '", known.items.key(0),
                "'; check that the file belongs to this domain.");
  }
  tell_features(input, *file, matched, had_it, unknown, report);
  FeatureTable table = table_of_rows(std::move(file), input.modality, std::move(row_of_item));
  warn_of_equal_rows(table, input, report);
  return table;
}

/// Gives new users their people, those that other domains know and new ones.
void match_people(const DatasetFile& dataset, Additions& additions) {
  KeyTable known = number_keys(dataset.person_keys());
  KeyTable came;
  for (const DomainAdditions& domain : additions.domains) {
    for (const std::string& key : domain.user_keys) came.add(key);
  }
  additions.person_keys = add_new(came, known);
  for (DomainAdditions& domain : additions.domains) {
    for (const std::string& key : domain.user_keys) domain.person.push_back(known.find(key));
  }
}

/// Throws where the data set's times are dates and those that came positions, or the other way.
void refuse_other_scale(const KnownDomain& known, const RawDomain& raw) {
  if (!known.info.has_timestamps || !raw.time_scale) return;
  TimeScale scale = TimeScale::order;
  for (const Split split : dataset_format::kSplits) {
    scale = scale_of(known.dataset.timestamps(known.number, split));
    if (scale == TimeScale::dates) break;
  }
  if (scale == *raw.time_scale) return;
  const bool are_dates = scale == TimeScale::dates;
  throw Error(Cause::data, "The times of the domain ", raw.name, " are ",
              are_dates ? "dates" : "positions", " in ", known.dataset.path(), " and ",
              are_dates ? "positions" : "dates",
              " in what came to it, so nothing says which are later; write those that came ",
              are_dates ? "in Unix seconds (since 1970)." : "as positions after these.");
}

}  // namespace

void refuse_foreign(const DatasetFile& dataset, const RawDomain& raw, std::ostream& report) {
  const KnownDomain known = known_domain(dataset, dataset.domain_number(raw.name));
  if (raw.user.empty()) {
    throw Error(Cause::data, "The files of the domain ", raw.name, " have no interactions.");
  }
  const std::int64_t crossed = words_in_both(raw.users, known.items);
  if (crossed > words_in_both(raw.users, known.users) &&
      crossed > words_in_both(raw.items, known.items)) {
    throw Error(Cause::data, with_commas(crossed), " of the ", with_commas(raw.users.size()),
                " users that came to ", raw.name, " are items of it in ", known.dataset.path(),
                ": user and item columns are swapped; name them with --columns=USER,ITEM.");
  }
  refuse_other_scale(known, raw);
  const auto none_is_known = [](const KeyTable& keys, const KeyTable& table) {
    return std::ranges::all_of(numbers_of(keys, table), [](std::int32_t n) { return n < 0; });
  };
  if (none_is_known(raw.users, known.users) && none_is_known(raw.items, known.items)) {
    report << "warning: " << known.dataset.path() << " knows none of the users and items that came "
           << "to " << raw.name << ", as '" << raw.users.key(0) << "' and '" << raw.items.key(0)
           << "'; it has '" << known.users.key(0) << "' and '" << known.items.key(0)
           << "': are these keys of the same kind?\n";
  }
}

Additions make_additions(const DatasetFile& dataset, std::vector<RawDomain> raw,
                         const std::vector<FeatureInput>& features, FeaturesOf kind,
                         SplitKind split, std::ostream& report) {
  Additions additions;
  additions.domains.resize(dataset.domains().size());
  std::vector<std::shared_ptr<const FeatureFile>> files;
  std::map<std::string, double> longest;  // rows of modalities, read once
  for (const FeatureInput& input : features) {
    files.push_back(open_features(input));
    refuse_other_width(input, *files.back(), dataset, kind);
    if (kind != FeaturesOf::new_items) continue;
    if (!longest.contains(input.modality)) {
      longest[input.modality] = longest_row(dataset, input.modality);
    }
    refuse_longer_rows(input, *files.back(), longest[input.modality]);
  }
  for (const RawDomain& domain : raw) dataset.domain_number(domain.name);  // refuses unknown ones
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const DomainInfo& info = dataset.domains()[d];
    DomainAdditions& added = additions.domains[d];
    KnownDomain known = known_domain(dataset, d);
    const auto came = std::ranges::find(raw, info.name, &RawDomain::name);
    KeyTable items;
    if (came != raw.end()) {
      added.user_keys = add_new(came->users, known.users);
      items = came->items;
    }
    for (std::size_t f = 0; f < features.size() && kind == FeaturesOf::new_items; ++f) {
      if (features[f].domain != info.name) continue;
      for (const std::string& key : files[f]->keys()) {
        if (const char* const problem = problem_of_key(key)) {
          throw Error(Cause::data, features[f].path, ": the key ", excerpt(key), " of an item ",
                      problem);
        }
        items.add(key);
      }
    }
    added.item_keys = add_new(items, known.items);
    if (came != raw.end()) {
      InteractionRows& rows = added;
      rows = take_rows(*came, numbers_of(came->users, known.users),
                       numbers_of(came->items, known.items), split, report);
      drop_known(known, rows, report);
      *came = {};
    }
    for (std::size_t f = 0; f < features.size(); ++f) {
      if (features[f].domain != info.name) continue;
      added.features.push_back(match(features[f], files[f], known, kind, report));
    }
    std::ranges::sort(added.features, {}, &FeatureTable::modality);
    report << info.name << ": " << with_commas(std::ssize(added.user)) << " new interactions, "
           << with_commas(std::ssize(added.user_keys)) << " new users, "
           << with_commas(std::ssize(added.item_keys)) << " new items\n";
  }
  match_people(dataset, additions);
  return additions;
}

}  // namespace micrec
