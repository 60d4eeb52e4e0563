#include "serve/recommender.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

namespace micrec {
namespace {

constexpr std::int64_t kBlock = 4096;     // people served at a time
constexpr std::int64_t kChunk = 1 << 20;  // interactions read at a time

std::span<const float> values_of(const at::Tensor& rows) {
  return {rows.const_data_ptr<float>(), static_cast<std::size_t>(rows.numel())};
}

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

Recommender::Recommender(const DatasetFile& dataset, Model& model, std::int64_t epoch,
                         const SparseRows* coefficients, std::vector<ScoreMix> mixes)
    : dataset_(dataset),
      model_(model),
      epoch_(epoch),
      coefficients_(coefficients),
      mixes_(std::move(mixes)),
      histories_(dataset.domains().size()) {
  CHECK_EQ(model.shard().world->size(), 1) << "recommending takes the rows of all nodes";
  if (mixes_.empty()) mixes_.resize(histories_.size());
  CHECK_EQ(mixes_.size(), histories_.size());
  const NodeSpace& space = model.shard().space();
  const bool takes_embeddings = std::ranges::any_of(mixes_, &ScoreMix::embeddings);
  z_ = takes_embeddings ? model.embeddings(epoch).cpu().contiguous()
                        : at::empty({space.nodes(), 0}, at::kFloat);
  for (std::size_t d = 0; d < histories_.size(); ++d) {
    const auto domain = static_cast<int>(d);
    users_.push_back(number_keys(dataset.user_keys(domain)));
    CHECK(coefficients != nullptr || mixes_[d].is_product_alone()) << "a mix needs coefficients";
    if (coefficients != nullptr) seen_.push_back(items_of_users(domain, Exclude::observed));
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

/// Rows from the person's own history or own node in this domain; what has neither is left at
/// Basis::popular.
PeopleRows Recommender::own_rows(int domain, std::span<const std::string> keys) const {
  const auto count = static_cast<std::int64_t>(keys.size());
  PeopleRows rows = {at::zeros({count, z_.size(1)}), std::vector<Basis>(count, Basis::popular)};
  std::vector<std::int64_t> known_people;
  std::vector<std::int64_t> nodes;
  std::vector<std::int64_t> new_people;
  std::vector<std::vector<std::int32_t>> lists;
  for (std::int64_t n = 0; n < count; ++n) {
    if (const std::vector<std::int32_t>* list = histories_[domain].of(keys[n])) {
      rows.basis[n] = Basis::history;
      new_people.push_back(n);
      lists.push_back(*list);
      continue;
    }
    const std::int32_t user = users_[domain].find(keys[n]);
    if (user < 0) continue;
    rows.basis[n] = Basis::dataset;
    known_people.push_back(n);
    nodes.push_back(value(model_.shard().space().user(domain, user)));
  }
  rows.z.index_copy_(0, at::tensor(known_people, at::kLong),
                     z_.index_select(0, at::tensor(nodes, at::kLong)));
  if (!new_people.empty() && z_.size(1) > 0) {
    rows.z.index_copy_(0, at::tensor(new_people, at::kLong),
                       model_.new_user_embeddings(domain, lists, epoch_));
  }
  return rows;
}

PeopleRows Recommender::rows_for(int domain, std::span<const std::string> keys) const {
  PeopleRows rows = own_rows(domain, keys);
  if (z_.size(1) == 0) return rows;
  std::vector<std::string> strangers;
  std::vector<std::int64_t> place;
  for (std::size_t n = 0; n < keys.size(); ++n) {
    if (rows.basis[n] != Basis::popular) continue;
    strangers.push_back(keys[n]);
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

/// Items with the most training interactions, ties to the smaller number.
std::vector<ScoredItem> Recommender::popular_items(int domain, std::int64_t k) const {
  const DatasetSummary& summary = *model_.shard().summary;
  const Range nodes = summary.space.items_of(domain);
  std::vector<ScoredItem> items;
  for (std::int64_t node = nodes.begin; node < nodes.end; ++node) {
    items.push_back({static_cast<std::int32_t>(node - nodes.begin),
                     static_cast<float>(summary.training_degree[node])});
  }
  std::ranges::stable_sort(items, std::ranges::greater(), &ScoredItem::score);
  items.resize(std::min<std::size_t>(items.size(), k));
  return items;
}

Recommender::Items Recommender::items_of_users(int domain, Exclude exclude) const {
  Items items(dataset_.domains()[domain].users);
  std::vector<Split> splits = {Split::train, Split::later};
  if (exclude == Exclude::all) splits.insert(splits.end(), {Split::valid, Split::test});
  for (const Split split : splits) {
    dataset_.for_each_chunk(domain, split, kChunk, [&](const Interactions& chunk) {
      for (std::size_t n = 0; n < chunk.user.size(); ++n) {
        items[chunk.user[n]].push_back(chunk.item[n]);
      }
    });
  }
  for (std::vector<std::int32_t>& list : items) std::ranges::sort(list);
  return items;
}

/// What people have interacted with, each by what their row comes from.
NumberLists Recommender::left_out(int domain, std::span<const std::string> keys,
                                  std::span<const Basis> basis, const Items& of_users) const {
  NumberLists lists;
  for (std::size_t n = 0; n < keys.size(); ++n) {
    const std::vector<std::int32_t>* own = nullptr;
    if (basis[n] == Basis::history) own = histories_[domain].of(keys[n]);
    if (basis[n] == Basis::dataset) own = &of_users[users_[domain].find(keys[n])];
    lists.add(own == nullptr ? std::span<const std::int32_t>() : std::span(*own));
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
    coefficients =
        rows_between(*coefficients_, {items.begin - space.users(), items.end - space.users()});
  }
  std::vector<std::int32_t> row_of(items.size());
  std::iota(row_of.begin(), row_of.end(), 0);
  const std::vector<std::uint8_t> one_group(items.size(), 0);
  return {values_of(rows),        rows.size(1),           0, row_of, one_group, 1,
          model_.shard().threads, std::move(coefficients)};
}

/// What people did in all domains, numbered over all of them.
NumberLists Recommender::histories_of(std::span<const std::string> keys) const {
  const NodeSpace& space = model_.shard().space();
  NumberLists lists;
  for (const std::string& key : keys) {
    for (std::size_t d = 0; d < histories_.size(); ++d) {
      const std::vector<std::int32_t>* list = histories_[d].of(key);
      const std::int32_t user = users_[d].find(key);
      if (list == nullptr && user >= 0) list = &seen_[d][user];
      if (list == nullptr) continue;
      const std::int64_t first = space.items_of(static_cast<int>(d)).begin - space.users();
      for (const std::int32_t item : *list) {
        lists.values.push_back(static_cast<std::int32_t>(first + item));
      }
    }
    lists.offsets.push_back(static_cast<std::int64_t>(lists.values.size()));
  }
  return lists;
}

void Recommender::recommend(int domain, std::span<const std::string> keys,
                            const ListOptions& options,
                            const std::function<void(const Recommendation&)>& use) const {
  const int threads = model_.shard().threads;
  const ScoreMix& mix = mixes_[domain];
  const Candidates items = candidates(domain);
  const std::vector<ScoredItem> popular = popular_items(domain, options.k);
  const Items of_users = items_of_users(domain, options.exclude);
  for (std::size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const std::span<const std::string> block =
        keys.subspan(begin, std::min<std::size_t>(kBlock, keys.size() - begin));
    PeopleRows rows = rows_for(domain, block);
    const at::Tensor z = rows.z.slice(1, 0, items.dim()).contiguous();
    RankedUsers people = {values_of(z)};
    NumberLists histories;
    std::vector<std::int32_t> history_of(block.size());
    std::iota(history_of.begin(), history_of.end(), 0);
    if (!mix.is_product_alone()) {
      histories = histories_of(block);
      people.histories = &histories;
      people.history_of = history_of;
      for (std::size_t n = 0; n < block.size(); ++n) {
        Basis& basis = rows.basis[n];
        const bool is_reached = reaches(items, histories.of(static_cast<std::int64_t>(n)));
        if (basis == Basis::popular && is_reached) basis = Basis::other_domain;
        if (!mix.embeddings && !is_reached) basis = Basis::popular;
      }
    }
    const std::vector<std::vector<ScoredItem>> lists = top_k(
        items, people, left_out(domain, block, rows.basis, of_users), mix, options.k, threads);
    for (std::size_t n = 0; n < block.size(); ++n) {
      const Basis basis = rows.basis[n];
      use({block[n], basis, basis == Basis::popular ? popular : lists[n]});
    }
  }
}

}  // namespace micrec
