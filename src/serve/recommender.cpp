#include "serve/recommender.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "evaluate/histories.h"
#include "kernels/rows.h"
#include "model/item_regression/recency.h"

namespace micrec {
namespace {

constexpr std::int64_t kBlock = 4096;  // people served at a time

SparseRows rows_between(const SparseRows& matrix, Range rows) {
  const std::int64_t begin = matrix.offsets[rows.begin];
  const std::int64_t end = matrix.offsets[rows.end];
  SparseRows part;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    part.offsets.push_back(matrix.offsets[row + 1] - begin);
  }
  part.column.assign(matrix.column.begin() + begin, matrix.column.begin() + end);
  part.value.assign(matrix.value.begin() + begin, matrix.value.begin() + end);
  return part;
}

/// Whether any item of a history has a coefficient for any of the candidates.
bool reaches(const Candidates& candidates, std::span<const std::int32_t> history) {
  return std::ranges::any_of(
      history, [&](std::int32_t source) { return !candidates.sources().of(source).empty(); });
}

}  // namespace

const char* name_of(Basis basis) {
  constexpr const char* kNames[] = {"history", "dataset", "other_domain", "popular"};
  return kNames[static_cast<int>(basis)];
}

/// What all lists of a domain share.
struct Recommender::Catalogue {
  std::once_flag is_made;
  std::optional<Candidates> items;
  std::vector<ScoredItem> popular;  // all items
  std::vector<double> length;       // (items) of final rows
  std::once_flag is_held_out_read;
  std::vector<std::vector<std::int32_t>> held_out;  // [user] of validation and test, rising
};

struct Recommender::Ranked {
  at::Tensor z;  // (people, dim of the candidates)
  std::vector<Basis> basis;
  WeighedHistories histories;            // where the mix takes them
  std::vector<std::int32_t> history_of;  // (people)

  RankedUsers users() const {
    RankedUsers users = {values_of(z)};
    if (history_of.empty()) return users;
    users.histories = &histories.items;
    users.history_of = history_of;
    users.history_weights = histories.weights;
    return users;
  }
};

Recommender::Recommender(const DatasetFile& dataset, Model& model, std::int64_t epoch,
                         const SparseRows* coefficients, std::vector<ScoreMix> mixes,
                         std::vector<double> half_life)
    : dataset_(dataset),
      model_(model),
      coefficients_(coefficients),
      mixes_(std::move(mixes)),
      half_life_(std::move(half_life)),
      histories_(dataset.domains().size()) {
  CHECK_EQ(model.shard().world->size(), 1) << "recommending takes the rows of all nodes";
  if (mixes_.empty()) mixes_.resize(histories_.size());
  CHECK_EQ(mixes_.size(), histories_.size());
  const NodeSpace& space = model.shard().space();
  const bool takes_embeddings = std::ranges::any_of(mixes_, &ScoreMix::embeddings);
  z_ = takes_embeddings ? model.embeddings(epoch).cpu().contiguous()
                        : at::empty({space.nodes(), 0}, at::kFloat);
  if (z_.size(1) > 0) new_user_rows_ = model.new_user_rows(epoch);
  for (std::size_t d = 0; d < histories_.size(); ++d) {
    const auto domain = static_cast<int>(d);
    users_.push_back(number_keys(dataset.user_keys(domain)));
    CHECK(coefficients != nullptr || mixes_[d].is_product_alone()) << "a mix needs coefficients";
    catalogues_.push_back(std::make_unique<Catalogue>());
  }
  read_seen();
}

Recommender::Recommender(const TrainedRun& run)
    : Recommender(run.dataset, *run.model, run.epoch, run.coefficients(),
                  run.model->item_regression().mixes(), run.model->item_regression().half_life()) {}

Recommender::~Recommender() = default;

void Recommender::read_seen() {
  const NodeSpace& space = model_.shard().space();
  std::vector<std::int32_t> everybody(dataset_.people());
  std::iota(everybody.begin(), everybody.end(), 0);
  const Histories all = load_histories(dataset_, space, Observed::all,
                                       fades() ? HistoryAges::counted : HistoryAges::unknown,
                                       everybody, dataset_.people());
  for (int domain = 0; domain < space.domains(); ++domain) {
    const auto begin = static_cast<std::int32_t>(space.item_numbers(domain).begin);
    const auto end = static_cast<std::int32_t>(space.item_numbers(domain).end);
    std::vector<MetItems>& seen = seen_.emplace_back();
    for (const std::int32_t person : dataset_.person_of_user(domain)) {
      const std::span<const std::int32_t> list = all.items.of(person);
      const auto first = std::ranges::lower_bound(list, begin) - list.begin();
      const auto last = std::ranges::lower_bound(list, end) - list.begin();
      MetItems& met = seen.emplace_back();
      for (const std::int32_t item : list.subspan(first, last - first)) {
        met.items.push_back(item - begin);
      }
      if (!fades()) continue;
      const auto newer = all.newer.begin() + all.items.offsets[person];
      met.newer.assign(newer + first, newer + last);
    }
  }
}

void Recommender::set_history(int domain, History history) {
  histories_[domain] = std::move(history);
}

std::vector<std::string> Recommender::everyone(int domain) const {
  KeyTable keys;
  for (const History& history : histories_) {
    for (std::int32_t u = 0; u < history.users.size(); ++u) keys.add(history.users.key(u));
  }
  const KeyTable& chosen = keys.size() > 0 ? keys : users_[domain];
  std::vector<std::string> list;
  for (std::int32_t u = 0; u < chosen.size(); ++u) list.emplace_back(chosen.key(u));
  return list;
}

void Recommender::prepare(int domain, Exclude exclude) const {
  Catalogue& made = *catalogues_[domain];
  std::call_once(made.is_made, [&] {
    made.items.emplace(candidates(domain));
    made.popular = popular_items(domain);
    const Range nodes = model_.shard().space().items_of(domain);
    for (std::int64_t node = nodes.begin; node < nodes.end; ++node) {
      const float* const row = z_.const_data_ptr<float>() + node * z_.size(1);
      made.length.push_back(std::sqrt(std::inner_product(row, row + z_.size(1), row, 0.0)));
    }
  });
  if (exclude != Exclude::all) return;
  std::call_once(made.is_held_out_read, [&] {
    made.held_out.resize(users_[domain].size());
    for (const Split split : {Split::valid, Split::test}) {
      dataset_.for_each_interaction(domain, split, [&](std::int32_t user, std::int32_t item) {
        made.held_out[user].push_back(item);
      });
    }
    for (std::vector<std::int32_t>& list : made.held_out) std::ranges::sort(list);
  });
}

const Recommender::Catalogue& Recommender::catalogue(int domain) const {
  prepare(domain, Exclude::observed);
  return *catalogues_[domain];
}

std::vector<Person> Recommender::people_of(std::span<const std::string> keys) const {
  std::vector<Person> people;
  people.reserve(keys.size());
  for (const std::string& key : keys) {
    Person person{key, {}};
    for (const History& history : histories_) person.histories.push_back(history.of(key));
    people.push_back(std::move(person));
  }
  return people;
}

/// Rows from the person's own history or own node in this domain; what has neither is left at
/// Basis::popular.
PeopleRows Recommender::own_rows(int domain, std::span<const Person> people) const {
  const auto count = static_cast<std::int64_t>(people.size());
  PeopleRows rows = {at::zeros({count, z_.size(1)}), std::vector<Basis>(count, Basis::popular)};
  std::vector<std::int64_t> known_people;
  std::vector<std::int64_t> nodes;
  std::vector<std::int64_t> new_people;
  std::vector<std::vector<std::int32_t>> lists;
  for (std::int64_t n = 0; n < count; ++n) {
    if (const MetItems* const given = people[n].history(domain)) {
      rows.basis[n] = Basis::history;
      new_people.push_back(n);
      lists.push_back(given->items);
      continue;
    }
    const std::int32_t user = user_of(domain, people[n]);
    if (user < 0) continue;
    rows.basis[n] = Basis::dataset;
    known_people.push_back(n);
    nodes.push_back(value(model_.shard().space().user(domain, user)));
  }
  if (z_.size(1) == 0) return rows;
  if (!nodes.empty()) {
    rows.z.index_copy_(0, at::tensor(known_people, at::kLong),
                       z_.index_select(0, at::tensor(nodes, at::kLong)));
  }
  if (!new_people.empty()) {
    rows.z.index_copy_(0, at::tensor(new_people, at::kLong), new_user_rows_(domain, lists));
  }
  return rows;
}

PeopleRows Recommender::rows_for(int domain, std::span<const Person> people) const {
  PeopleRows rows = own_rows(domain, people);
  if (z_.size(1) == 0) return rows;
  std::vector<Person> strangers;
  std::vector<std::int64_t> place;
  for (std::size_t n = 0; n < people.size(); ++n) {
    if (rows.basis[n] != Basis::popular) continue;
    strangers.push_back(people[n]);
    place.push_back(static_cast<std::int64_t>(n));
  }
  if (strangers.empty()) return rows;
  std::vector<int> maps(strangers.size(), 0);
  for (int from = 0; from < static_cast<int>(users_.size()); ++from) {
    if (from == domain) continue;
    const PeopleRows there = own_rows(from, strangers);
    const std::optional<at::Tensor> mapped = model_.map_to_domain(there.z, from, domain);
    if (!mapped) continue;
    for (std::size_t s = 0; s < strangers.size(); ++s) {
      if (there.basis[s] == Basis::popular) continue;
      rows.z[place[s]].add_((*mapped)[static_cast<std::int64_t>(s)]);
      rows.basis[place[s]] = Basis::other_domain;
      ++maps[s];
    }
  }
  for (std::size_t s = 0; s < strangers.size(); ++s) {
    if (maps[s] > 1) rows.z[place[s]].div_(maps[s]);
  }
  return rows;
}

/// All items, those with the most training interactions first, ties to the smaller number.
std::vector<ScoredItem> Recommender::popular_items(int domain) const {
  const DatasetSummary& summary = *model_.shard().summary;
  const Range nodes = summary.space.items_of(domain);
  std::vector<ScoredItem> items;
  for (std::int64_t node = nodes.begin; node < nodes.end; ++node) {
    items.push_back({static_cast<std::int32_t>(node - nodes.begin),
                     static_cast<float>(summary.training_degree[node])});
  }
  std::ranges::stable_sort(items, std::ranges::greater(), &ScoredItem::score);
  return items;
}

/// What people have interacted with, each by what their row comes from.
NumberLists Recommender::left_out(int domain, std::span<const Person> people,
                                  std::span<const Basis> basis, Exclude exclude) const {
  NumberLists lists;
  for (std::size_t n = 0; n < people.size(); ++n) {
    std::vector<std::int32_t> items;
    if (exclude != Exclude::none && (basis[n] == Basis::dataset || basis[n] == Basis::history)) {
      items = met(domain, people[n])->items;
    }
    if (exclude == Exclude::all) {
      const std::int32_t user = user_of(domain, people[n]);
      if (user >= 0) {
        const std::vector<std::int32_t>& more = catalogues_[domain]->held_out[user];
        items.insert(items.end(), more.begin(), more.end());
      }
    }
    lists.add(items);
  }
  return lists;
}

/// All items of a domain, with those of the terms that its mix takes.
Candidates Recommender::candidates(int domain) const {
  const NodeSpace& space = model_.shard().space();
  const Range items = space.items_of(domain);
  const ScoreMix& mix = mixes_[domain];
  const at::Tensor rows =
      z_.slice(0, items.begin, items.end).slice(1, 0, mix.embeddings ? z_.size(1) : 0).contiguous();
  SparseRows coefficients;
  if (!mix.is_product_alone()) {
    coefficients = rows_between(*coefficients_, space.item_numbers(domain));
  }
  std::vector<std::int32_t> row_of(items.size());
  std::iota(row_of.begin(), row_of.end(), 0);
  const std::vector<std::uint8_t> one_group(items.size(), 0);
  return {values_of(rows), rows.size(1), 0, row_of, one_group, 1, std::move(coefficients)};
}

/// The number of a person in a domain, -1 where they are no user of it.
std::int32_t Recommender::user_of(int domain, const Person& person) const {
  return person.key ? users_[domain].find(*person.key) : -1;
}

const MetItems* Recommender::met(int domain, const Person& person) const {
  if (const MetItems* const given = person.history(domain)) return given;
  const std::int32_t user = user_of(domain, person);
  return user < 0 ? nullptr : &seen_[domain][user];
}

Recommender::WeighedHistories Recommender::histories_for(int target,
                                                         std::span<const Person> people) const {
  const NodeSpace& space = model_.shard().space();
  const bool is_weighed = fades() && half_life_[target] != kNoRecency;
  WeighedHistories made;
  std::vector<std::int32_t>& items = made.items.values;
  for (const Person& person : people) {
    for (int domain = 0; domain < static_cast<int>(users_.size()); ++domain) {
      const MetItems* const history = met(domain, person);
      if (history == nullptr) continue;
      const std::int64_t first = space.item_numbers(domain).begin;
      for (const std::int32_t item : history->items) {
        items.push_back(static_cast<std::int32_t>(first + item));
      }
      if (!is_weighed) continue;
      const std::vector<float> weights = recency_weights(history->newer, half_life_[target]);
      made.weights.insert(made.weights.end(), weights.begin(), weights.end());
      made.weights.resize(items.size(), 1.F);  // where nobody knows what came when
    }
    made.items.offsets.push_back(static_cast<std::int64_t>(items.size()));
  }
  return made;
}

Recommender::Ranked Recommender::rank(int domain, std::span<const Person> people) const {
  const ScoreMix& mix = mixes_[domain];
  const Candidates& items = *catalogue(domain).items;
  PeopleRows rows = rows_for(domain, people);
  Ranked ranked;
  ranked.z = rows.z.slice(1, 0, items.dim()).contiguous();
  ranked.basis = std::move(rows.basis);
  if (mix.is_product_alone()) return ranked;
  ranked.histories = histories_for(domain, people);
  ranked.history_of.resize(people.size());
  std::iota(ranked.history_of.begin(), ranked.history_of.end(), 0);
  for (std::size_t n = 0; n < people.size(); ++n) {
    Basis& basis = ranked.basis[n];
    const bool is_reached = reaches(items, ranked.histories.items.of(static_cast<std::int64_t>(n)));
    if (basis == Basis::popular && is_reached) basis = Basis::other_domain;
    if (!mix.embeddings && !is_reached) basis = Basis::popular;
  }
  return ranked;
}

void Recommender::recommend(int domain, std::span<const std::string> keys,
                            const ListOptions& options,
                            const std::function<void(const Recommendation&)>& use) const {
  for (std::size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const std::size_t count = std::min<std::size_t>(kBlock, keys.size() - begin);
    recommend(domain, people_of(keys.subspan(begin, count)), options, use);
  }
}

void Recommender::recommend(int domain, std::span<const Person> people, const ListOptions& options,
                            const std::function<void(const Recommendation&)>& use) const {
  const c10::NoGradGuard no_gradient;
  prepare(domain, options.exclude);
  const Catalogue& shared = catalogue(domain);
  const std::span<const ScoredItem> ordered = shared.popular;
  const std::span<const ScoredItem> first =
      ordered.first(std::min<std::size_t>(ordered.size(), options.k));
  const std::vector<ScoredItem> popular = options.filter != nullptr
                                              ? options.filter->chosen(ordered, options.k)
                                              : std::vector<ScoredItem>(first.begin(), first.end());
  for (std::size_t begin = 0; begin < people.size(); begin += kBlock) {
    const std::span<const Person> block =
        people.subspan(begin, std::min<std::size_t>(kBlock, people.size() - begin));
    const Ranked ranked = rank(domain, block);
    const std::vector<std::vector<ScoredItem>> lists = filtered_top_k(
        *shared.items, ranked.users(), left_out(domain, block, ranked.basis, options.exclude),
        mixes_[domain], options.k, options.filter);
    for (std::size_t n = 0; n < block.size(); ++n) {
      const Basis basis = ranked.basis[n];
      use({block[n].key.value_or(""), basis, basis == Basis::popular ? popular : lists[n]});
    }
  }
}

PersonScores Recommender::score(int domain, const Person& person,
                                std::span<const std::int32_t> items) const {
  const c10::NoGradGuard no_gradient;
  const Ranked ranked = rank(domain, {&person, 1});
  PersonScores scored = {ranked.basis.front(), std::vector<float>(items.size())};
  if (scored.basis == Basis::popular) {
    const DatasetSummary& summary = *model_.shard().summary;
    const std::int64_t first = summary.space.items_of(domain).begin;
    for (std::size_t n = 0; n < items.size(); ++n) {
      scored.scores[n] = static_cast<float>(summary.training_degree[first + items[n]]);
    }
    return scored;
  }
  NumberLists pairs;
  pairs.add(items);
  score_pairs(*catalogue(domain).items, ranked.users(), pairs, {&mixes_[domain], 1}, scored.scores);
  return scored;
}

std::optional<std::vector<ScoredItem>> Recommender::similar(int domain,
                                                            std::span<const std::int32_t> items,
                                                            std::int64_t k,
                                                            const ItemFilter* filter) const {
  const std::int64_t dim = z_.size(1);
  const std::int64_t first = model_.shard().space().items_of(domain).begin;
  const auto count = static_cast<std::int32_t>(model_.shard().space().items_of(domain).size());
  const float* const rows = z_.const_data_ptr<float>() + first * dim;
  const std::vector<double>& length = catalogue(domain).length;
  std::vector<double> wanted(dim, 0);
  for (const std::int32_t item : items) {
    const float* const row = rows + item * dim;
    for (std::int64_t c = 0; length[item] > 0 && c < dim; ++c) wanted[c] += row[c] / length[item];
  }
  const double size =
      std::sqrt(std::inner_product(wanted.begin(), wanted.end(), wanted.begin(), 0.0));
  if (!(size > 0)) return std::nullopt;
  std::vector<float> cosine(count);
  std::vector<std::int32_t> number(count);
  std::iota(number.begin(), number.end(), 0);
  for (std::int32_t item = 0; item < count; ++item) {
    const float* const row = rows + item * dim;
    const bool is_allowed = filter == nullptr || filter->allowed()[item] != 0;
    cosine[item] = TopK::kNever;
    if (!is_allowed || !(length[item] > 0)) continue;
    const double product = std::inner_product(wanted.begin(), wanted.end(), row, 0.0);
    cosine[item] = static_cast<float>(product / (length[item] * size));
  }
  for (const std::int32_t item : items) cosine[item] = TopK::kNever;
  // At most so many of a kind take what they take from the whole order.
  const bool has_groups = filter != nullptr && filter->has_groups();
  TopK best(has_groups ? count : k);
  best.offer(cosine.data(), number.data(), count);
  std::vector<ScoredItem> list = best.take();
  return has_groups ? filter->chosen(list, k) : list;
}

std::span<const ScoredItem> Recommender::popular(int domain) const {
  return catalogue(domain).popular;
}

}  // namespace micrec
