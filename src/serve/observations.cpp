#include "serve/observations.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "data/additions.h"
#include "data/feature_matching.h"
#include "io/feature_file.h"

namespace micrec {
namespace {

RawDomain& domain_of(std::vector<RawDomain>& raw, const std::string& name) {
  const auto found = std::ranges::find(raw, name, &RawDomain::name);
  if (found != raw.end()) return *found;
  raw.emplace_back().name = name;
  return raw.back();
}

/// The events with items that are no items of the data set.
std::vector<RawDomain> raw_domains(const NewItems& told,
                                   const std::map<std::string, KeyTable>& known) {
  std::vector<RawDomain> raw;
  for (const ObservedEvent& event : told.events) {
    const auto items = known.find(event.domain);
    if (items == known.end() || items->second.find(event.item) >= 0) continue;
    RawDomain& domain = domain_of(raw, event.domain);
    domain.user.push_back(domain.users.add(event.user));
    domain.item.push_back(domain.items.add(event.item));
  }
  return raw;
}

/// Keys and rows of one modality of one domain.
struct Rows {
  std::vector<std::string> keys;
  std::vector<float> values;
};

std::vector<FeatureInput> feature_inputs(const DatasetFile& dataset, const NewItems& told,
                                         const std::map<std::string, KeyTable>& known,
                                         const std::vector<RawDomain>* met) {
  std::map<std::pair<std::string, std::string>, Rows> tables;  // by modality and domain
  for (const NewItem& item : told.items) {
    const auto items = known.find(item.domain);
    if (items == known.end() || items->second.find(item.item) >= 0) continue;
    if (met != nullptr) {
      const auto domain = std::ranges::find(*met, item.domain, &RawDomain::name);
      if (domain == met->end() || domain->items.find(item.item) < 0) continue;
    }
    for (const auto& [modality, row] : item.features) {
      const ModalityInfo* const info = find_modality(dataset, modality);
      if (info == nullptr || std::ssize(row) != info->width) continue;
      Rows& rows = tables[{modality, item.domain}];
      rows.keys.push_back(item.item);
      rows.values.insert(rows.values.end(), row.begin(), row.end());
    }
  }
  std::vector<FeatureInput> inputs;
  for (auto& [name, rows] : tables) {
    const std::string origin = "what was observed";
    inputs.push_back({name.first, name.second, origin,
                      std::make_shared<const FeatureFile>(FeatureFile::of(
                          origin, std::move(rows.keys), find_modality(dataset, name.first)->width,
                          std::move(rows.values)))});
  }
  return inputs;
}

}  // namespace

const ModalityInfo* find_modality(const DatasetFile& dataset, const std::string& name) {
  for (const DomainInfo& domain : dataset.domains()) {
    const auto found = std::ranges::find(domain.modalities, name, &ModalityInfo::name);
    if (found != domain.modalities.end()) return &*found;
  }
  return nullptr;
}

ItemTitles NewItems::titles() const {
  ItemTitles titles;
  for (const NewItem& item : items) {
    if (!item.title.empty()) titles[item.domain][item.item] = item.title;
  }
  return titles;
}

AdditionsReader reader_of(NewItems items, bool places_cold_items) {
  const auto told = std::make_shared<const NewItems>(std::move(items));
  return [told, places_cold_items](const DatasetFile& dataset, std::ostream& report) {
    std::map<std::string, KeyTable> known;  // items by domain
    for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
      known[dataset.domains()[d].name] = number_keys(dataset.item_keys(d));
    }
    std::vector<RawDomain> raw = raw_domains(*told, known);
    const std::vector<FeatureInput> features =
        feature_inputs(dataset, *told, known, places_cold_items ? nullptr : &raw);
    return make_additions(dataset, std::move(raw), features, FeaturesOf::new_items,
                          SplitKind::ratio, report, KeysFrom::events);
  };
}

Observations::Added Observations::add(const Observation& observation) {
  Added added;
  for (const NewItem& item : observation.items) {
    ++(add_item(item) ? added.items : added.known_items);
  }
  for (const ObservedEvent& event : observation.events) {
    ++(add_event(event) ? added.events : added.known_events);
  }
  return added;
}

bool Observations::add_item(const NewItem& item) {
  Domain& domain = domains_[item.domain];
  if (domain.new_keys.find(item.item) >= 0) return false;
  domain.new_keys.add(item.item);
  domain.new_items.push_back(item);
  ++changes_;
  return true;
}

bool Observations::add_event(const ObservedEvent& event) {
  Domain& domain = domains_[event.domain];
  const std::int32_t item = domain.items.add(event.item);
  domain.events_of_item.resize(domain.items.size(), 0);
  History& histories = domain.histories;
  const std::int32_t user = histories.users.add(event.user);
  histories.items.resize(histories.users.size());
  std::vector<std::int32_t>& items = histories.items[user];
  const auto place = std::ranges::lower_bound(items, item);
  if (place != items.end() && *place == item) return false;
  items.insert(place, item);
  people_.add(event.user);
  ++domain.events_of_item[item];
  ++events_;
  if (domain.new_keys.find(event.item) >= 0) ++changes_;
  return true;
}

const std::vector<std::int32_t>* Observations::history(const std::string& domain,
                                                       std::string_view user) const {
  const auto found = domains_.find(domain);
  return found == domains_.end() ? nullptr : found->second.histories.of(user);
}

bool Observations::is_new_item(const std::string& domain, std::string_view item) const {
  const auto found = domains_.find(domain);
  return found != domains_.end() && found->second.new_keys.find(item) >= 0;
}

NewItems Observations::new_items() const {
  NewItems told;
  for (const auto& [name, domain] : domains_) {
    if (domain.new_items.empty()) continue;
    told.items.insert(told.items.end(), domain.new_items.begin(), domain.new_items.end());
    std::vector<std::uint8_t> is_new;  // (items)
    for (std::int32_t item = 0; item < domain.items.size(); ++item) {
      is_new.push_back(domain.new_keys.find(domain.items.key(item)) >= 0 ? 1 : 0);
    }
    for (std::int32_t user = 0; user < domain.histories.users.size(); ++user) {
      for (const std::int32_t item : domain.histories.items[user]) {
        if (is_new[item] == 0) continue;
        told.events.push_back({name, std::string(domain.histories.users.key(user)),
                               std::string(domain.items.key(item))});
      }
    }
  }
  return told;
}

}  // namespace micrec
