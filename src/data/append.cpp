#include "data/append.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/dataset_format.h"
#include "data/preparation.h"

namespace micrec {
namespace {

struct Row {
  std::int32_t user;
  std::int32_t item;
  std::int64_t timestamp;
  std::int32_t billionths;
  Split split;
  bool kept;
};

std::vector<Row> rows_of(const DatasetFile& old, int domain, const DomainAdditions& added,
                         bool has_times) {
  std::vector<Row> rows;
  for (const Split split : dataset_format::kSplits) {
    const Interactions part = old.read(domain, split);
    const std::vector<std::int64_t> times = old.timestamps(domain, split);
    for (std::size_t i = 0; i < part.user.size(); ++i) {
      rows.push_back({part.user[i], part.item[i], has_times ? times[i] : 0, 0, split, true});
    }
  }
  for (std::size_t i = 0; i < added.user.size(); ++i) {
    rows.push_back({added.user[i], added.item[i], has_times ? added.timestamp[i] : 0,
                    added.billionths.empty() ? 0 : added.billionths[i],
                    added.split.empty() ? Split::train : added.split[i], false});
  }
  std::ranges::sort(rows, [](const Row& a, const Row& b) {
    return std::tie(a.user, a.item) < std::tie(b.user, b.item);
  });
  return rows;
}

/// Whether the times of both are written; those of what came alone are not.
bool takes_times(const DatasetFile& old, const DomainInfo& info, const DomainAdditions& added,
                 std::ostream& report) {
  if (info.has_timestamps && added.timestamp.empty() && !added.user.empty()) {
    throw Error(Cause::data, old.path(), " has a time for every interaction of the domain ",
                info.name,
                ", and the files that are added to it have none; name their column of times with "
                "--columns=USER,ITEM,TIME.");
  }
  if (!info.has_timestamps && !added.timestamp.empty()) {
    report << info.name << ": the times are not used, as " << old.path() << " has none\n";
  }
  return info.has_timestamps;
}

/// A modality of all items: what is there stays, and others get what was added.
FeatureTable joined_features(const std::shared_ptr<const DatasetFile>& old, int domain,
                             const std::string& modality, const FeatureTable* added) {
  const DomainInfo& info = old->domains()[domain];
  const auto known = std::ranges::find(info.modalities, modality, &ModalityInfo::name);
  CHECK(known != info.modalities.end() || added != nullptr) << modality << " is nowhere";
  FeatureTable table;
  table.modality = modality;
  if (added != nullptr) table.width = added->width;
  std::vector<std::uint8_t> is_kept;
  if (known != info.modalities.end()) {
    table.width = known->width;
    is_kept = old->features_present(domain, modality);
  }
  const std::int64_t old_items = known != info.modalities.end() ? info.items : 0;
  table.present = is_kept;
  if (added != nullptr) {
    table.present.resize(added->present.size(), 0);
    for (std::size_t i = 0; i < table.present.size(); ++i) table.present[i] |= added->present[i];
  }
  FeatureTable more;
  if (added != nullptr) more = *added;
  table.read = [old, domain, old_items, is_kept = std::move(is_kept), more = std::move(more),
                modality, width = table.width](std::int64_t begin, std::int64_t end, float* out) {
    std::fill_n(out, (end - begin) * width, 0.0F);
    const std::int64_t first_new = std::clamp(old_items, begin, end);
    if (begin < first_new) old->read_features(domain, modality, begin, first_new, out);
    if (!more.read) return;
    std::vector<float> rows((end - begin) * width);
    more.read(begin, end, rows.data());
    for (std::int64_t item = begin; item < end; ++item) {
      if (more.present[item] == 0) continue;
      std::copy_n(rows.data() + (item - begin) * width, width, out + (item - begin) * width);
    }
  };
  return table;
}

std::vector<FeatureTable> features_of(const std::shared_ptr<const DatasetFile>& old, int domain,
                                      std::int64_t items, const DomainAdditions& added) {
  std::set<std::string> names;
  for (const ModalityInfo& info : old->domains()[domain].modalities) names.insert(info.name);
  for (const FeatureTable& table : added.features) names.insert(table.modality);
  std::vector<FeatureTable> tables;
  for (const std::string& name : names) {
    const auto came = std::ranges::find(added.features, name, &FeatureTable::modality);
    tables.push_back(
        joined_features(old, domain, name, came == added.features.end() ? nullptr : &*came));
    tables.back().present.resize(items, 0);
  }
  return tables;
}

template <typename T>
void append_to(std::vector<T>& list, const std::vector<T>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

PreparedDomain join_domain(const std::shared_ptr<const DatasetFile>& old, int number,
                           const DomainAdditions& added, std::ostream& report) {
  const DomainInfo& info = old->domains()[number];
  PreparedDomain domain;
  domain.name = info.name;
  domain.user_keys = old->user_keys(number);
  domain.item_keys = old->item_keys(number);
  append_to(domain.user_keys, added.user_keys);
  append_to(domain.item_keys, added.item_keys);
  domain.new_users = old->new_users(number);
  domain.new_items = old->new_items(number);
  domain.cold_items = old->cold_items(number);
  domain.new_users.resize(domain.user_keys.size(), 0);
  domain.new_items.resize(domain.item_keys.size(), 0);
  domain.cold_items.resize(domain.item_keys.size(), 0);
  const bool has_times = takes_times(*old, info, added, report);
  for (const Row& row : rows_of(*old, number, added, has_times)) {
    domain.user.push_back(row.user);
    domain.item.push_back(row.item);
    domain.split.push_back(row.split);
    domain.kept.push_back(row.kept ? 1 : 0);
    if (has_times) domain.timestamp.push_back(row.timestamp);
    if (has_times && !added.billionths.empty()) domain.billionths.push_back(row.billionths);
  }
  domain.features = features_of(old, number, domain.items(), added);
  return domain;
}

/// What is held out of training stays so.
void keep_held_out(PreparedDomain& domain) {
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.is_kept(i)) continue;
    if (domain.cold_items[domain.item[i]] != 0) {
      domain.split[i] = Split::test;
    } else if (domain.split[i] == Split::train &&
               (domain.new_users[domain.user[i]] != 0 || domain.new_items[domain.item[i]] != 0)) {
      domain.split[i] = Split::later;
    }
  }
}

}  // namespace

PreparedDataset append(std::shared_ptr<const DatasetFile> old, Additions additions,
                       const AppendOptions& options, std::ostream& report) {
  PreparedDataset dataset;
  static_cast<DatasetOrigin&>(dataset) = old->origin();
  ExtendedDataset& extended = dataset.extends.emplace_back();
  extended.fingerprint = old->fingerprint();
  extended.people = old->people();
  dataset.provenance = options.provenance;
  dataset.split_rule = options.split.to_string();
  dataset.person_keys = old->person_keys();
  append_to(dataset.person_keys, additions.person_keys);
  for (std::size_t d = 0; d < old->domains().size(); ++d) {
    const auto number = static_cast<int>(d);
    extended.users.push_back(old->domains()[d].users);
    extended.items.push_back(old->domains()[d].items);
    dataset.person_of_user.push_back(old->person_of_user(number));
    append_to(dataset.person_of_user.back(), additions.domains[d].person);
    dataset.domains.push_back(join_domain(old, number, additions.domains[d], report));
    static_cast<InteractionRows&>(additions.domains[d]) = {};
  }
  refuse_too_many_nodes(dataset);
  refuse_two_widths(dataset);
  assign_splits(options.split, static_cast<std::uint64_t>(dataset.seed), dataset);
  for (PreparedDomain& domain : dataset.domains) keep_held_out(domain);
  return dataset;
}

}  // namespace micrec
