#include "data/preparation.h"

#include <algorithm>
#include <iomanip>
#include <iterator>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/pages.h"
#include "base/parallel.h"
#include "base/table.h"
#include "base/text.h"
#include "data/dataset_format.h"
#include "data/interaction_rows.h"
#include "data/key_table.h"

namespace micrec {
namespace {

/// The place of every key of a table in the order of all keys.
std::vector<std::int32_t> places(const std::vector<std::int32_t>& sorted) {
  std::vector<std::int32_t> place;
  reserve_huge(place, sorted.size());
  place.resize(sorted.size());
  for (std::size_t i = 0; i < sorted.size(); ++i) place[sorted[i]] = static_cast<std::int32_t>(i);
  return place;
}

/// Renumbers what is in use without gaps, in the same order; returns the old numbers.
std::vector<std::int32_t> close_gaps(PackedColumn<std::int32_t>& numbers, std::int64_t size) {
  std::vector<std::int32_t> renumbered(size, -1);
  PackedColumn<std::int32_t>::Block room;
  for (std::size_t at = 0; at < numbers.size(); at += room.size()) {
    for (const std::int32_t number : numbers.block(at, room)) renumbered[number] = 0;
  }
  std::vector<std::int32_t> old;
  for (std::int64_t number = 0; number < size; ++number) {
    if (renumbered[number] < 0) continue;
    renumbered[number] = static_cast<std::int32_t>(old.size());
    old.push_back(static_cast<std::int32_t>(number));
  }
  if (std::ssize(old) == size) return old;
  PackedColumn<std::int32_t> closed;
  for (std::size_t at = 0; at < numbers.size(); at += room.size()) {
    numbers.give_back_before(at);
    for (const std::int32_t number : numbers.block(at, room)) closed.push_back(renumbered[number]);
  }
  numbers = std::move(closed);
  return old;
}

std::vector<std::string> keys_of(const KeyTable& table, const std::vector<std::int32_t>& sorted,
                                 const std::vector<std::int32_t>& kept) {
  std::vector<std::string> keys;
  keys.reserve(kept.size());
  for (const std::int32_t place : kept) keys.emplace_back(table.key(sorted[place]));
  return keys;
}

PreparedDomain number_domain(RawDomain raw, const CoreThresholds& thresholds, SplitKind split,
                             std::ostream& report) {
  PreparedDomain domain;
  domain.name = raw.name;
  std::vector<std::int32_t> sorted_users;
  std::vector<std::int32_t> sorted_items;
  parallel_for(2, 1, [&](std::int64_t begin, std::int64_t end) {
    if (begin == 0) sorted_users = raw.users.sorted();
    if (end == 2) sorted_items = raw.items.sorted();
  });
  raw.users.forget_places();
  raw.items.forget_places();
  InteractionRows rows = take_rows(raw, places(sorted_users), places(sorted_items), split, report);
  const auto count = std::ssize(rows);
  if (thresholds.user > 1 || thresholds.item > 1) {
    std::vector<std::uint8_t> keep;
    const CoreReport core =
        find_core(rows.user, rows.item, raw.users.size(), raw.items.size(), thresholds, keep);
    rows.keep_only(keep);
    report << raw.name << ": core of " << thresholds.user << " interactions a user and "
           << thresholds.item << " an item: " << with_commas(core.users_dropped) << " users, "
           << with_commas(core.items_dropped) << " items and "
           << with_commas(core.interactions_dropped) << " interactions dropped in " << core.rounds
           << (core.rounds == 1 ? " round" : " rounds") << "\n";
  }
  static_cast<InteractionRows&>(domain) = std::move(rows);
  if (domain.user.empty()) {
    throw Error(Cause::data, count == 0
                                 ? text("The domain ", raw.name, " has no interactions.")
                                 : text("The domain ", raw.name, " has no interaction left of ",
                                        with_commas(count), " after the core filter (at least ",
                                        thresholds.user, " interactions a user and ",
                                        thresholds.item, " an item); use a smaller --core."));
  }

  const auto kept_users = close_gaps(domain.user, raw.users.size());
  const auto kept_items = close_gaps(domain.item, raw.items.size());
  domain.user_keys = keys_of(raw.users, sorted_users, kept_users);
  domain.item_keys = keys_of(raw.items, sorted_items, kept_items);
  domain.new_users.assign(domain.user_keys.size(), 0);
  domain.new_items.assign(domain.item_keys.size(), 0);
  domain.cold_items.assign(domain.item_keys.size(), 0);
  return domain;
}

void match_people(PreparedDataset& dataset) {
  std::vector<std::string>& people = dataset.person_keys;
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<std::string> merged;
    merged.reserve(people.size() + domain.user_keys.size());
    std::set_union(std::make_move_iterator(people.begin()), std::make_move_iterator(people.end()),
                   domain.user_keys.begin(), domain.user_keys.end(), std::back_inserter(merged),
                   key_less);
    people = std::move(merged);
  }
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<std::int32_t>& person_of_user = dataset.person_of_user.emplace_back();
    person_of_user.reserve(domain.user_keys.size());
    std::size_t person = 0;
    for (const std::string& key : domain.user_keys) {
      while (people[person] != key) ++person;
      person_of_user.push_back(static_cast<std::int32_t>(person));
    }
  }
}

std::int64_t shared_people(const PreparedDataset& dataset, std::size_t a, std::size_t b) {
  std::vector<std::uint8_t> is_user(dataset.people(), 0);
  for (const std::int32_t person : dataset.person_of_user[a]) is_user[person] = 1;
  const std::vector<std::int32_t>& others = dataset.person_of_user[b];
  return std::ranges::count_if(others, [&](std::int32_t person) { return is_user[person] != 0; });
}

void attach_features(const FeatureReader& features, PreparedDataset& dataset) {
  for (PreparedDomain& domain : dataset.domains) domain.features = features(domain);
  refuse_two_widths(dataset);
}

void refuse_no_training(const PreparedDataset& dataset) {
  for (const PreparedDomain& domain : dataset.domains) {
    if (domain.interactions(Split::train) == 0) {
      throw Error(Cause::data, "The domain ", domain.name,
                  " has no training interaction among its ", with_commas(domain.interactions()),
                  "; check --split=", dataset.split_rule, ".");
    }
  }
}

/// Two points in time divide all domains, so they mean something only where all have dates, or all
/// positions.
void refuse_two_scales(const std::vector<RawDomain>& domains, const SplitRule& rule) {
  const RawDomain* first = nullptr;
  for (const RawDomain& domain : domains) {
    if (!domain.time_scale) continue;
    if (first == nullptr) first = &domain;
    if (domain.time_scale == first->time_scale) continue;
    const bool dates_first = *first->time_scale == TimeScale::dates;
    throw Error(Cause::data, "--split=", rule.to_string(), ": the times of the domain ",
                (dates_first ? *first : domain).name, " are dates and those of ",
                (dates_first ? domain : *first).name,
                " positions, so no point in time divides both; split per user with --split=time.");
  }
}

/// The fifth interaction of one user is not before the sixth of another.
void warn_of_global_positions(const std::vector<RawDomain>& domains, const SplitRule& rule,
                              std::ostream& report) {
  std::vector<std::string> names;
  for (const RawDomain& domain : domains) {
    if (domain.time_scale == TimeScale::order) names.push_back(domain.name);
  }
  if (names.empty()) return;
  report << "warning: --split=" << rule.to_string()
         << " cuts all users at the same points, but the "
         << "times of " << join(names, " and ")
         << " are positions; a global cut needs real times, so split per user with --split=time "
         << "where positions are counted by user\n";
}

/// Why training or evaluation will find nothing to measure by.
void warn_of_empty_parts(const PreparedDataset& dataset, std::ostream& out) {
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<std::string> empty;
    if (domain.interactions(Split::valid) == 0) empty.emplace_back("validation");
    if (domain.interactions(Split::test) == 0) empty.emplace_back("test");
    if (empty.empty()) continue;
    out << "warning: " << domain.name << " has no " << join(empty, " and no ")
        << " interactions by the split " << dataset.split_rule << ": "
        << (domain.interactions(Split::valid) == 0 ? "its validation cannot choose a checkpoint"
                                                   : "")
        << (empty.size() == 2 ? ", and " : "")
        << (domain.interactions(Split::test) == 0 ? "nothing can be measured on it" : "") << "\n";
  }
}

std::string in_percent(double share, int decimals) {
  std::ostringstream stream;
  stream << std::fixed << std::setprecision(decimals) << 100 * share << " %";
  return stream.str();
}

/// A line a domain: its sizes, and how many of its items have which modality.
void print_domains(const PreparedDataset& dataset, std::ostream& out) {
  std::set<std::string> modalities;
  bool any_later = false;
  for (const PreparedDomain& domain : dataset.domains) {
    any_later = any_later || domain.interactions(Split::later) > 0;
    for (const FeatureTable& table : domain.features) modalities.insert(table.modality);
  }
  std::vector<std::string> header = {"domain", "users", "items", "train", "valid", "test"};
  if (any_later) header.emplace_back("later");
  header.emplace_back("density");
  for (const std::string& modality : modalities) header.push_back("with " + modality);
  Table table(std::move(header));
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<std::string> row = {domain.name, with_commas(domain.users()),
                                    with_commas(domain.items())};
    for (const Split split : dataset_format::kSplits) {
      if (split != Split::later || any_later)
        row.push_back(with_commas(domain.interactions(split)));
    }
    row.push_back(in_percent(static_cast<double>(domain.interactions()) /
                                 static_cast<double>(domain.users()) /
                                 static_cast<double>(domain.items()),
                             3));
    for (const std::string& modality : modalities) {
      std::string share = "-";
      for (const FeatureTable& features : domain.features) {
        if (features.modality != modality) continue;
        share = in_percent(
            static_cast<double>(ones_in(features.present)) / static_cast<double>(domain.items()),
            1);
      }
      row.push_back(share);
    }
    table.add(std::move(row));
  }
  table.print(out);
}

}  // namespace

// One projection serves a modality in all domains, so its width is one as well.
void refuse_two_widths(const PreparedDataset& dataset) {
  for (const PreparedDomain& domain : dataset.domains) {
    for (const FeatureTable& table : domain.features) {
      for (const PreparedDomain& other : dataset.domains) {
        for (const FeatureTable& same : other.features) {
          if (same.modality != table.modality || same.width == table.width) continue;
          throw Error(Cause::data, "The modality ", table.modality, " has ", table.width,
                      " columns in the domain ", domain.name, " and ", same.width, " in ",
                      other.name,
                      "; encode both with the same model, or give them different names.");
        }
      }
    }
  }
}

void refuse_too_many_nodes(const PreparedDataset& dataset) {
  std::int64_t nodes = 0;
  for (const PreparedDomain& domain : dataset.domains) nodes += domain.users() + domain.items();
  if (nodes > std::numeric_limits<std::int32_t>::max()) {
    throw Error(
        Cause::data, "The domains have ", with_commas(nodes),
        " users and items together, and their numbers are 32 bits wide; filter them with --core.");
  }
}

void refuse_swapped_columns(const std::vector<RawDomain>& domains) {
  for (const RawDomain& a : domains) {
    for (const RawDomain& b : domains) {
      if (a.name == b.name) continue;
      const std::int64_t crossed = words_in_both(a.users, b.items);
      if (crossed == 0 || crossed <= words_in_both(a.users, b.users) ||
          crossed <= words_in_both(a.items, b.items)) {
        continue;
      }
      throw Error(Cause::data, with_commas(crossed), " of the ", with_commas(a.users.size()),
                  " user keys of the domain ", a.name, " are item keys of the domain ", b.name,
                  " (a user of ", a.name, " is '", a.users.key(0), "', an item of ", b.name, " '",
                  b.items.key(0),
                  "'): the user and item columns of one of them are swapped; name them with "
                  "--columns=USER,ITEM.");
    }
  }
}

PreparedDataset prepare(std::vector<RawDomain> raw, const PreparationOptions& options,
                        const FeatureReader& features, std::ostream& report) {
  std::set<std::string> names;
  for (const RawDomain& domain : raw) {
    if (!dataset_format::is_valid_name(domain.name) || !names.insert(domain.name).second) {
      throw Error(Cause::usage, "'", domain.name,
                  "' cannot name a domain: it is used twice, or is not made of letters, digits, "
                  "'_', '-' and '.'.");
    }
  }
  if (raw.empty()) throw Error(Cause::usage, "There is no domain to prepare.");
  for (const auto& [domain, thresholds] : options.core.by_domain) {
    if (names.count(domain) == 0) {
      throw Error(Cause::usage, "--core names the domain '", domain, "', but the domains are ",
                  join({names.begin(), names.end()}, ", "), ".");
    }
  }
  refuse_swapped_columns(raw);
  if (options.split.kind == SplitKind::global_time) {
    refuse_two_scales(raw, options.split);
    warn_of_global_positions(raw, options.split, report);
  }

  PreparedDataset dataset;
  dataset.provenance = options.provenance;
  dataset.split_rule = options.split.to_string();
  dataset.hold_out = options.hold_out.to_string();
  dataset.core = options.core.to_string();
  dataset.seed = static_cast<std::int64_t>(options.seed);
  for (RawDomain& domain : raw) {
    const CoreThresholds thresholds = options.core.of(domain.name);
    dataset.domains.push_back(
        number_domain(std::move(domain), thresholds, options.split.kind, report));
  }
  refuse_too_many_nodes(dataset);
  match_people(dataset);
  attach_features(features, dataset);
  assign_splits(options.split, options.seed, dataset);
  refuse_no_training(dataset);
  apply_hold_outs(options.hold_out, options.seed, dataset);
  return dataset;
}

void print_summary(const PreparedDataset& dataset, std::ostream& out) {
  print_domains(dataset, out);
  warn_of_empty_parts(dataset, out);
  for (const PreparedDomain& domain : dataset.domains) {
    const std::int64_t new_users = ones_in(domain.new_users);
    const std::int64_t new_items = ones_in(domain.new_items);
    const std::int64_t cold_items = ones_in(domain.cold_items);
    if (new_users + new_items + cold_items > 0) {
      out << "held out in " << domain.name << ": " << with_commas(new_users) << " users, "
          << with_commas(new_items) << " items, " << with_commas(cold_items)
          << " strictly cold items\n";
    }
  }
  for (std::size_t a = 0; a < dataset.domains.size(); ++a) {
    for (std::size_t b = a + 1; b < dataset.domains.size(); ++b) {
      const PreparedDomain& first = dataset.domains[a];
      const PreparedDomain& second = dataset.domains[b];
      const std::int64_t shared = shared_people(dataset, a, b);
      out << "people in both " << first.name << " and " << second.name << ": "
          << with_commas(shared);
      if (shared == 0) {
        out << "; the contrastive loss finds nobody to work on (a user of " << first.name << " is '"
            << first.user_keys[0] << "', of " << second.name << " '" << second.user_keys[0]
            << "': are these keys of the same kind?)";
      }
      out << "\n";
    }
  }
}

}  // namespace micrec
