#include "serve/observations.h"

#include <algorithm>

namespace micrec {
const ModalityInfo* find_modality(const DatasetFile& dataset, const std::string& name) {
  for (const DomainInfo& domain : dataset.domains()) {
    const auto found = std::ranges::find(domain.modalities, name, &ModalityInfo::name);
    if (found != domain.modalities.end()) return &*found;
  }
  return nullptr;
}

Observations::Added Observations::add(const Observation& observation, const IsLater& is_later) {
  Added added;
  for (const NewItem& item : observation.items) {
    ++(add_item(item) ? added.items : added.known_items);
  }
  for (const ObservedEvent& event : observation.events) {
    ++(add_event(event, is_later) ? added.events : added.known_events);
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

bool Observations::add_event(const ObservedEvent& event, const IsLater& is_later) {
  Domain& domain = domains_[event.domain];
  const std::int32_t item = domain.items.add(event.item);
  domain.events_of_item.resize(domain.items.size(), 0);
  const std::int32_t user = domain.users.add(event.user);
  domain.told.resize(domain.users.size());
  Told& told = domain.told[user];
  const auto place = std::ranges::lower_bound(told.items, item);
  if (place != told.items.end() && *place == item) return false;
  told.turn.insert(told.turn.begin() + (place - told.items.begin()), events_);
  told.items.insert(place, item);
  people_.add(event.user);
  ++domain.events_of_item[item];
  ++events_;
  const bool is_new = domain.new_keys.find(event.item) >= 0;
  if (is_new || (is_later && is_later(event.domain, event.item))) ++changes_;
  return true;
}

const Observations::Told* Observations::history(const std::string& domain,
                                                std::string_view user) const {
  const auto found = domains_.find(domain);
  if (found == domains_.end()) return nullptr;
  const std::int32_t number = found->second.users.find(user);
  return number < 0 ? nullptr : &found->second.told[number];
}

bool Observations::is_new_item(const std::string& domain, std::string_view item) const {
  const auto found = domains_.find(domain);
  return found != domains_.end() && found->second.new_keys.find(item) >= 0;
}

Observation Observations::new_items(const IsLater& is_later) const {
  Observation told;
  for (const auto& [name, domain] : domains_) {
    told.items.insert(told.items.end(), domain.new_items.begin(), domain.new_items.end());
    std::vector<std::uint8_t> is_new;  // (items)
    for (std::int32_t item = 0; item < domain.items.size(); ++item) {
      const std::string_view key = domain.items.key(item);
      is_new.push_back(domain.new_keys.find(key) >= 0 || is_later(name, key) ? 1 : 0);
    }
    if (std::ranges::find(is_new, 1) == is_new.end()) continue;
    for (std::int32_t user = 0; user < domain.users.size(); ++user) {
      for (const std::int32_t item : domain.told[user].items) {
        if (is_new[item] == 0) continue;
        told.events.push_back(
            {name, std::string(domain.users.key(user)), std::string(domain.items.key(item))});
      }
    }
  }
  return told;
}

ItemTitles Observations::titles() const {
  ItemTitles titles;
  for (const auto& [name, domain] : domains_) {
    for (const NewItem& item : domain.new_items) {
      if (!item.title.empty()) titles[name][item.item] = item.title;
    }
  }
  return titles;
}

}  // namespace micrec
