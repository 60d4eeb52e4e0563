#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/key_table.h"
#include "serve/item_titles.h"
#include "serve/observed_log.h"
#include "serve/trained_run.h"

namespace micrec {

/// A modality of some domain of the data set; null where none has it.
const ModalityInfo* find_modality(const DatasetFile& dataset, const std::string& name);

/// Whether an item came after the data set was made, by what else is known of it than was told.
using IsLater = std::function<bool(const std::string& domain, std::string_view item)>;

/// Gives the new items that were told of, and what was done with them and with those that else came
/// later: what a model is opened with to have them.
using ToldReader = std::function<Observation(const IsLater& is_later)>;

/// What a server was told, by keys alone, so that any model may be asked about it. Nobody adds
/// while another reads.
class Observations {
 public:
  struct Added {
    std::int64_t events = 0;
    std::int64_t items = 0;
    std::int64_t known_events = 0;  // already there
    std::int64_t known_items = 0;
  };
  Added add(const Observation& observation, const IsLater& is_later = nullptr);

  /// What somebody did in a domain.
  struct Told {
    std::vector<std::int32_t> items;  // rising, numbers for item_key()
    std::vector<std::int64_t> turn;   // (items) rises with every event that is told
  };
  /// Null where nothing was observed.
  const Told* history(const std::string& domain, std::string_view user) const;
  std::string_view item_key(const std::string& domain, std::int32_t item) const {
    return domains_.at(domain).items.key(item);
  }
  bool is_new_item(const std::string& domain, std::string_view item) const;

  Observation new_items(const IsLater& is_later) const;
  /// Of the new items that have one.
  ItemTitles titles() const;
  /// Rises with every new item, and every event with one or with one that came later.
  std::int64_t changes() const { return changes_; }

  std::int64_t events() const { return events_; }
  std::int64_t people() const { return people_.size(); }
  /// How many events are of items that are neither new nor known to `knows`.
  template <typename Knows>  // bool(const std::string& domain, std::string_view item)
  std::int64_t count_foreign(const Knows& knows) const {
    std::int64_t count = 0;
    for (const auto& [name, domain] : domains_) {
      for (std::int32_t item = 0; item < domain.items.size(); ++item) {
        const std::string_view key = domain.items.key(item);
        if (!is_new_item(name, key) && !knows(name, key)) count += domain.events_of_item[item];
      }
    }
    return count;
  }

  /// How many of the new items are such that `is_counted`.
  template <typename IsCounted>  // bool(const std::string& domain, std::string_view item)
  std::int64_t count_new_items(const IsCounted& is_counted) const {
    std::int64_t count = 0;
    for (const auto& [name, domain] : domains_) {
      for (const NewItem& item : domain.new_items) count += is_counted(name, item.item) ? 1 : 0;
    }
    return count;
  }

 private:
  struct Domain {
    KeyTable items;                            // that anybody met
    std::vector<std::int64_t> events_of_item;  // (items)
    KeyTable users;
    std::vector<Told> told;  // (users)
    std::vector<NewItem> new_items;
    KeyTable new_keys;  // of them
  };

  bool add_event(const ObservedEvent& event, const IsLater& is_later);
  bool add_item(const NewItem& item);

  std::map<std::string, Domain, std::less<>> domains_;
  KeyTable people_;
  std::int64_t events_ = 0;
  std::int64_t changes_ = 0;
};

}  // namespace micrec
