#include "serve/later_files.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/excerpt.h"
#include "base/path_list.h"
#include "base/text.h"
#include "data/domain_files.h"
#include "data/feature_matching.h"
#include "data/key_table.h"
#include "io/feature_file.h"

namespace micrec {
namespace {

using KeysOfDomains = std::map<std::string, KeyTable>;

/// What came later, not yet numbered.
struct Came {
  std::vector<RawDomain> interactions;
  std::vector<FeatureInput> features;  // open
};

std::vector<DomainFiles> observed_files(const LaterFiles& files) {
  return parse_domains(split_paths(files.observed), /*is_split=*/false);
}

Came read(const LaterFiles& files, const DatasetFile& dataset, std::ostream& report) {
  Came came;
  const std::vector<DomainFiles> observed = observed_files(files);
  for (const DomainFiles& of_domain : observed) dataset.domain_number(of_domain.name);
  for (const DomainFiles& of_domain : observed) {
    came.interactions.push_back(read_domain(of_domain, files.reading, report));
    refuse_foreign(dataset, came.interactions.back(), report);
  }
  came.features = parse_feature_inputs(files.items, dataset.domain_names(), "--items");
  for (FeatureInput& input : came.features) {
    input.file = std::make_shared<const FeatureFile>(FeatureFile::open(input.path));
  }
  return came;
}

bool has(const KeysOfDomains& keys, const std::string& domain, std::string_view key) {
  const auto of_domain = keys.find(domain);
  return of_domain != keys.end() && of_domain->second.find(key) >= 0;
}

KeysOfDomains items_of(const DatasetFile& dataset) {
  KeysOfDomains items;
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    items[dataset.domains()[d].name] = number_keys(dataset.item_keys(d));
  }
  return items;
}

KeysOfDomains items_of(const Came& came) {
  KeysOfDomains items;
  for (const RawDomain& raw : came.interactions) items[raw.name] = raw.items;
  for (const FeatureInput& input : came.features) {
    for (const std::string& key : input.file->keys()) items[input.domain].add(key);
  }
  return items;
}

RawDomain& domain_of(std::vector<RawDomain>& raw, const std::string& name) {
  const auto found = std::ranges::find(raw, name, &RawDomain::name);
  if (found != raw.end()) return *found;
  raw.emplace_back().name = name;
  return raw.back();
}

/// Adds the events with items that the data set does not have. They are later than what files tell.
void join_events(const std::vector<ObservedEvent>& events, const KeysOfDomains& known,
                 std::vector<RawDomain>& interactions) {
  for (const ObservedEvent& event : events) {
    if (!known.contains(event.domain) || has(known, event.domain, event.item)) continue;
    RawDomain& raw = domain_of(interactions, event.domain);
    raw.user.push_back(raw.users.add(event.user));
    raw.item.push_back(raw.items.add(event.item));
  }
  for (RawDomain& raw : interactions) {
    if (!raw.timestamp.empty()) {
      raw.timestamp.fill_up(raw.user.size(), std::ranges::max(raw.timestamp));
    }
    if (!raw.billionths.empty()) raw.billionths.fill_up(raw.user.size(), 0);
    if (!raw.given_split.empty()) raw.given_split.fill_up(raw.user.size(), Split::train);
  }
}

/// Keys and rows of one modality of one domain.
struct Rows {
  std::vector<std::string> keys;
  std::vector<float> values;
};

/// Puts rows behind those of a file, where one has such.
void join_rows(const std::string& modality, const std::string& domain, std::int64_t width,
               Rows rows, std::vector<FeatureInput>& inputs) {
  std::string origin = "what was observed";
  const auto same = std::ranges::find_if(inputs, [&](const FeatureInput& input) {
    return input.modality == modality && input.domain == domain;
  });
  if (same != inputs.end()) {
    const FeatureFile& file = *same->file;
    if (file.width() != width) return;  // it will be refused
    Rows all = {file.keys(), std::vector<float>(file.keys().size() * width)};
    const KeyTable in_file = number_keys(file.keys());
    file.read_rows({0, std::ssize(all.keys)}, all.values.data());
    for (std::size_t n = 0; n < rows.keys.size(); ++n) {
      if (in_file.find(rows.keys[n]) >= 0) continue;
      const auto row = rows.values.begin() + static_cast<std::int64_t>(n) * width;
      all.keys.push_back(rows.keys[n]);
      all.values.insert(all.values.end(), row, row + width);
    }
    rows = std::move(all);
    origin = text(same->path, " and ", origin);
    inputs.erase(same);
  }
  inputs.push_back({modality, domain, origin,
                    std::make_shared<const FeatureFile>(FeatureFile::of(
                        origin, std::move(rows.keys), width, std::move(rows.values)))});
}

/// Adds the features of items that the data set does not have; rows that /observe would refuse now
/// are left out and told on `report`.
void join_features(const std::vector<NewItem>& items, const DatasetFile& dataset,
                   const KeysOfDomains& known, ColdItems cold, Came& came, std::ostream& report) {
  std::map<std::pair<std::string, std::string>, Rows> tables;  // by modality and domain
  std::map<std::string, double> longest;                       // by modality
  for (const NewItem& item : items) {
    if (!known.contains(item.domain) || has(known, item.domain, item.item)) continue;
    if (cold == ColdItems::unplaced) {
      const auto met = std::ranges::find(came.interactions, item.domain, &RawDomain::name);
      if (met == came.interactions.end() || met->items.find(item.item) < 0) continue;
    }
    for (const auto& [modality, row] : item.features) {
      const ModalityInfo* const info = find_modality(dataset, modality);
      if (info == nullptr || std::ssize(row) != info->width) continue;
      if (!longest.contains(modality)) longest[modality] = longest_row(dataset, modality);
      const std::string problem = problem_of_length(row, modality, longest[modality]);
      if (!problem.empty()) {
        report << "left out: the item " << excerpt(item.item) << " " << problem << "\n";
        continue;
      }
      Rows& rows = tables[{modality, item.domain}];
      rows.keys.push_back(item.item);
      rows.values.insert(rows.values.end(), row.begin(), row.end());
    }
  }
  for (auto& [name, rows] : tables) {
    join_rows(name.first, name.second, find_modality(dataset, name.first)->width, std::move(rows),
              came.features);
  }
}

}  // namespace

AdditionsReader additions_reader(const LaterFiles& files, const ToldReader& told) {
  if (files.items.empty() && files.observed.empty() && !told) return nullptr;
  return [files, told](const DatasetFile& dataset, ColdItems cold,
                       std::ostream& report) -> std::optional<Additions> {
    Came came = read(files, dataset, report);
    if (told) {
      const KeysOfDomains known = items_of(dataset);
      const KeysOfDomains in_files = items_of(came);
      const Observation items = told([&](const std::string& domain, std::string_view item) {
        return has(in_files, domain, item) && !has(known, domain, item);
      });
      join_events(items.events, known, came.interactions);
      join_features(items.items, dataset, known, cold, came, report);
    }
    if (came.interactions.empty() && came.features.empty()) return std::nullopt;
    return make_additions(dataset, std::move(came.interactions), came.features,
                          FeaturesOf::new_items, SplitKind::ratio, report);
  };
}

std::vector<std::string> files_of(const LaterFiles& files) {
  std::vector<std::string> paths;
  for (const DomainFiles& of_domain : observed_files(files)) {
    paths.push_back(of_domain.paths.front());
  }
  for (const std::string& part : split_paths(files.items)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) continue;
    for (std::string& path : files_of_features(part.substr(equals + 1))) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

}  // namespace micrec
