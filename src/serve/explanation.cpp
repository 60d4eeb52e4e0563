#include "serve/explanation.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

namespace micrec {

Reasons largest(const Explanation& explanation, std::int64_t count) {
  std::size_t named = 0;
  while (named < explanation.items.size() && static_cast<std::int64_t>(named) < count &&
         explanation.items[named].share > 0) {
    ++named;
  }
  Reasons reasons = {std::span(explanation.items).first(named), 0};
  for (std::size_t n = named; n < explanation.items.size(); ++n) {
    reasons.other_items += explanation.items[n].share;
  }
  return reasons;
}

/// Of the row that a person has of their own in a domain; nothing where they have none.
std::optional<Explainer::RowShares> Explainer::own_shares(int domain, const Person& person) const {
  const PeopleRows own = recommender_.own_rows(domain, {&person, 1});
  if (own.basis.front() == Basis::popular) return std::nullopt;
  RowShares shares;
  at::Tensor of_items = at::zeros({0, own.z.size(1)});
  const MetItems* const met = recommender_.met(domain, person);
  if (met != nullptr && !met->items.empty()) {
    of_items = shares_(domain, met->items).slice(0, 0, std::ssize(met->items));
    for (const std::int32_t item : met->items) shares.items.emplace_back(domain, item);
  }
  shares.rows = at::cat({of_items, own.z - of_items.sum(0, /*keepdim=*/true)});
  return shares;
}

std::optional<Explainer::RowShares> Explainer::row_shares(int domain, const Person& person,
                                                          Basis basis) const {
  if (basis != Basis::other_domain) return own_shares(domain, person);
  // The mean of what the maps make of the rows in other domains: the sum of what each makes of the
  // shares, and its offset once, which goes with what belongs to no item.
  RowShares shares;
  std::vector<at::Tensor> rows;
  at::Tensor rest;  // (1, dim)
  std::int64_t maps = 0;
  for (int from = 0; from < static_cast<int>(recommender_.users_.size()); ++from) {
    if (from == domain) continue;
    const std::optional<RowShares> there = own_shares(from, person);
    if (!there) continue;
    const at::Tensor nobody = at::zeros({1, there->rows.size(1)});
    const std::optional<at::Tensor> mapped =
        recommender_.model_.map_to_domain(at::cat({there->rows, nobody}), from, domain);
    if (!mapped) continue;
    const auto count = static_cast<std::int64_t>(there->items.size());
    const at::Tensor offset = mapped->slice(0, count + 1, count + 2);
    const at::Tensor last = mapped->slice(0, count, count + 1);
    rows.push_back(mapped->slice(0, 0, count) - offset);
    rest = maps == 0 ? last : rest + last;
    shares.items.insert(shares.items.end(), there->items.begin(), there->items.end());
    ++maps;
  }
  if (maps == 0) return std::nullopt;
  rows.push_back(rest);
  shares.rows = at::cat(rows) / maps;
  return shares;
}

std::vector<Explanation> Explainer::explain(int domain, const Person& person, Basis basis,
                                            std::span<const ScoredItem> items) const {
  const c10::NoGradGuard no_gradient;
  std::vector<Explanation> explanations(items.size());
  if (basis == Basis::popular) {
    for (std::size_t n = 0; n < items.size(); ++n) explanations[n].no_item = items[n].score;
    return explanations;
  }
  const NodeSpace& space = recommender_.model_.shard().space();
  const ScoreMix& mix = recommender_.mixes_[domain];
  const Range nodes = space.items_of(domain);
  std::optional<RowShares> row;
  at::Tensor products;  // (items, items of the history + 1) float64
  if (mix.embeddings) row = row_shares(domain, person, basis);
  if (row) {
    std::vector<std::int64_t> listed;
    for (const ScoredItem& item : items) listed.push_back(nodes.begin + item.item);
    const at::Tensor rows = recommender_.z_.index_select(0, at::tensor(listed, at::kLong));
    products = rows.to(at::kDouble).mm(row->rows.to(at::kDouble).t()).contiguous();
  }
  Recommender::WeighedHistories history;
  if (!mix.is_product_alone()) history = recommender_.histories_for(domain, {&person, 1});
  for (std::size_t n = 0; n < items.size(); ++n) {
    Explanation& explanation = explanations[n];
    Shares share_of;
    if (row) {
      const std::size_t width = row->items.size() + 1;
      const double* const product = products.const_data_ptr<double>() + n * width;
      for (std::size_t h = 0; h + 1 < width; ++h) share_of[row->items[h]] += product[h];
      explanation.no_item = product[width - 1];
      explanation.embeddings = std::accumulate(product, product + width, 0.0);
    }
    if (!mix.is_product_alone()) add_coefficients(domain, items[n].item, history, share_of);
    for (const auto& [item, share] : share_of) {
      explanation.items.push_back({item.first, item.second, share});
    }
    std::ranges::stable_sort(explanation.items, std::ranges::greater(), &ItemShare::share);
  }
  return explanations;
}

std::vector<Explanation> Explainer::explain(int domain, const Recommendation& list) const {
  const std::string key(list.user);
  const std::vector<Person> people = recommender_.people_of({&key, 1});
  return explain(domain, people.front(), list.basis, list.items);
}

/// The summands of the linear term of an item of a domain.
void Explainer::add_coefficients(int domain, std::int32_t item,
                                 const Recommender::WeighedHistories& history,
                                 Shares& share_of) const {
  const NodeSpace& space = recommender_.model_.shard().space();
  const SparseRows& coefficients = *recommender_.coefficients_;
  const std::int64_t target = space.item_numbers(domain).begin + item;
  const auto begin = coefficients.column.begin() + coefficients.offsets[target];
  const auto end = coefficients.column.begin() + coefficients.offsets[target + 1];
  const ScoreMix& mix = recommender_.mixes_[domain];
  const double factor = mix.embeddings ? mix.regression : 1;
  const std::vector<std::int32_t>& items = history.items.values;
  for (std::size_t n = 0; n < items.size(); ++n) {
    const auto found = std::lower_bound(begin, end, items[n]);
    if (found == end || *found != items[n]) continue;
    const double weight = factor * (history.weights.empty() ? 1 : history.weights[n]);
    const auto source = GlobalNode{static_cast<std::int32_t>(space.users() + items[n])};
    const auto number = static_cast<std::int32_t>(space.number_in_domain(source));
    share_of[{space.domain_of(source), number}] +=
        weight * coefficients.value[found - coefficients.column.begin()];
  }
}

}  // namespace micrec
