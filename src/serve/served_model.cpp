#include "serve/served_model.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/feature_matching.h"

namespace micrec {

ServedModel::ServedModel(std::unique_ptr<TrainedRun> run, const ServedFiles& files,
                         std::ostream& report)
    : run_(std::move(run)),
      recommender_(*run_),
      explainer_(recommender_, run_->model->new_user_shares(run_->epoch)),
      attributes_(domains()) {
  for (int domain = 0; domain < domains(); ++domain) {
    recommender_.prepare(domain, Exclude::all);
    items_.push_back(number_keys(run_->dataset.item_keys(domain)));
    titles_.emplace_back(items_.back().size());
    const bool is_extended = run_->dataset.fingerprint() != run_->info.dataset_fingerprint;
    first_new_.push_back(is_extended ? run_->dataset.origin().extends.back().items[domain]
                                     : items_.back().size());
  }
  for (const auto& [name, path] : files.attributes) {
    const int domain = run_->dataset.domain_number(name);
    attributes_[domain] = ItemAttributes::read(path, name, items_[domain], report);
  }
  for (const auto& [name, of_domain] : files.titles) {
    const int domain = run_->dataset.domain_number(name);
    for (std::int32_t item = 0; item < items_[domain].size(); ++item) {
      const auto title = of_domain.find(std::string(items_[domain].key(item)));
      if (title != of_domain.end()) titles_[domain][item] = title->second;
    }
  }
  for (int domain = 0; domain < domains(); ++domain) {
    searched_.emplace_back();
    for (std::int32_t item = 0; item < items_[domain].size(); ++item) {
      searched_.back().push_back(
          small_letters(text(items_[domain].key(item), '\n', titles_[domain][item])));
    }
  }
}

double ServedModel::longest_row(const std::string& modality) const {
  const std::lock_guard<std::mutex> lock(longest_mutex_);
  if (!longest_rows_.contains(modality)) {
    longest_rows_.emplace(modality, micrec::longest_row(run_->dataset, modality, first_new_));
  }
  return longest_rows_.at(modality);
}

std::int64_t ServedModel::new_items() const {
  std::int64_t count = 0;
  for (int domain = 0; domain < domains(); ++domain) {
    count += items_[domain].size() - first_new_[domain];
  }
  return count;
}

std::shared_ptr<const ItemFilter> ServedModel::filter(int domain, const ItemRules& rules) const {
  const auto find = [&] {
    return std::ranges::find_if(filters_, [&](const MadeFilter& made) {
      return made.domain == domain && made.rules == rules;
    });
  };
  {
    const std::lock_guard<std::mutex> lock(filters_mutex_);
    if (const auto found = find(); found != filters_.end()) {
      filters_.splice(filters_.begin(), filters_, found);
      return filters_.front().filter;
    }
  }
  const FilterRules understood(rules, /*prefix=*/"");
  const std::optional<ItemAttributes>& attributes = attributes_[domain];
  if (rules.asks_attributes() && !attributes) {
    throw Error(Cause::usage, understood.asking(), " asks about items of ", name(domain),
                ", which have no attributes here; start the server with --attributes=",
                name(domain), "=items.csv, or name other domains by \"domains\"");
  }
  auto made = std::make_shared<ItemFilter>(items_[domain].size());
  understood.apply(run_->degree_of_items(domain), attributes ? &*attributes : nullptr, *made);
  const std::lock_guard<std::mutex> lock(filters_mutex_);
  if (find() == filters_.end()) filters_.push_front({domain, rules, made});
  if (filters_.size() > kFilters) filters_.pop_back();
  return made;
}

}  // namespace micrec
