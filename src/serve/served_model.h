#pragma once

#include <cstdint>
#include <iosfwd>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/key_table.h"
#include "serve/explanation.h"
#include "serve/filter/filter_rules.h"
#include "serve/filter/item_attributes.h"
#include "serve/filter/item_filter.h"
#include "serve/item_titles.h"
#include "serve/observations.h"
#include "serve/recommender.h"
#include "serve/trained_run.h"

namespace micrec {

/// What is known of items besides the data set.
struct ServedFiles {
  ItemTitles titles;
  std::map<std::string, std::string> attributes;  // file of an ItemTable by domain
};

/// A model ready to be asked: its lists prepared, its keys numbered, with the titles and attributes
/// of its items. Several threads may ask at once.
class ServedModel {
 public:
  /// Says on `report` what the attributes are.
  ///
  /// Errors   Error(usage) where files name domains that it does not have; those of reading the
  ///          data set and of ItemAttributes.
  /// Cost     that of a Recommender, and keys, titles and attributes of all items.
  ServedModel(std::unique_ptr<TrainedRun> run, const ServedFiles& files, std::ostream& report);

  const TrainedRun& run() const { return *run_; }
  const Recommender& recommender() const { return recommender_; }
  const Explainer& explainer() const { return explainer_; }
  int domains() const { return static_cast<int>(run_->dataset.domains().size()); }
  const std::string& name(int domain) const { return run_->dataset.domains()[domain].name; }
  const KeyTable& items(int domain) const { return items_[domain]; }
  const std::string& title(int domain, std::int32_t item) const { return titles_[domain][item]; }
  /// Key and title in small letters, a line each.
  const std::string& searched(int domain, std::int32_t item) const {
    return searched_[domain][item];
  }
  /// Whether an item came after the data set was made.
  bool is_new(int domain, std::int32_t item) const { return item >= first_new_[domain]; }
  /// How many did.
  std::int64_t new_items() const;

  /// longest_row() of the data set's own items, found when it is first asked for.
  double longest_row(const std::string& modality) const;

  /// The items that rules let through, of the last kFilters different ones made once.
  ///
  /// Errors   those of FilterRules, whose names have no prefix; Error(usage) where attributes are
  ///          asked about and this domain has none.
  std::shared_ptr<const ItemFilter> filter(int domain, const ItemRules& rules) const;
  static constexpr std::size_t kFilters = 64;

 private:
  struct MadeFilter {
    int domain;
    ItemRules rules;
    std::shared_ptr<const ItemFilter> filter;
  };

  std::unique_ptr<TrainedRun> run_;
  Recommender recommender_;
  Explainer explainer_;
  std::vector<KeyTable> items_;                            // [domain]
  std::vector<std::int64_t> first_new_;                    // [domain] number of the first new item
  std::vector<std::vector<std::string>> titles_;           // [domain][item]
  std::vector<std::vector<std::string>> searched_;         // [domain][item]
  std::vector<std::optional<ItemAttributes>> attributes_;  // [domain]
  mutable std::mutex longest_mutex_;
  mutable std::map<std::string, double> longest_rows_;
  mutable std::mutex filters_mutex_;
  mutable std::list<MadeFilter> filters_;  // the last asked for first
};

/// What a server was told of since, with which its model is opened.
struct ServedAdditions {
  ToldReader told = nullptr;  // null: nothing
  ItemTitles titles;          // of new items
};

}  // namespace micrec
