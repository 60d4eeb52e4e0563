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

Candidates all_items(const at::Tensor& item_rows, int threads) {
  std::vector<std::int32_t> row_of(item_rows.size(0));
  std::iota(row_of.begin(), row_of.end(), 0);
  const std::vector<std::uint8_t> one_group(item_rows.size(0), 0);
  return {values_of(item_rows), item_rows.size(1), 0, row_of, one_group, 1, threads};
}

}  // namespace

const char* name_of(Basis basis) {
  constexpr const char* kNames[] = {"history", "dataset", "other_domain", "popular"};
  return kNames[static_cast<int>(basis)];
}

Recommender::Recommender(const DatasetFile& dataset, Model& model, std::int64_t epoch)
    : dataset_(dataset), model_(model), epoch_(epoch), histories_(dataset.domains().size()) {
  CHECK_EQ(model.shard().world->size(), 1) << "recommending takes the rows of all nodes";
  z_ = model.embeddings(epoch).cpu().contiguous();
  for (std::size_t d = 0; d < histories_.size(); ++d) {
    users_.push_back(number_keys(dataset.user_keys(static_cast<int>(d))));
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
  if (!new_people.empty()) {
    rows.z.index_copy_(0, at::tensor(new_people, at::kLong),
                       model_.new_user_embeddings(domain, lists, epoch_));
  }
  return rows;
}

PeopleRows Recommender::rows_for(int domain, std::span<const std::string> keys) const {
  PeopleRows rows = own_rows(domain, keys);
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
ItemLists Recommender::left_out(int domain, std::span<const std::string> keys,
                                const PeopleRows& rows, const Items& of_users) const {
  ItemLists lists;
  for (std::size_t n = 0; n < keys.size(); ++n) {
    const std::vector<std::int32_t>* own = nullptr;
    if (rows.basis[n] == Basis::history) own = histories_[domain].of(keys[n]);
    if (rows.basis[n] == Basis::dataset) own = &of_users[users_[domain].find(keys[n])];
    if (own != nullptr) lists.items.insert(lists.items.end(), own->begin(), own->end());
    lists.offsets.push_back(static_cast<std::int64_t>(lists.items.size()));
  }
  return lists;
}

void Recommender::recommend(int domain, std::span<const std::string> keys,
                            const ListOptions& options,
                            const std::function<void(const Recommendation&)>& use) const {
  const int threads = model_.shard().threads;
  const Range items = model_.shard().space().items_of(domain);
  const Candidates candidates = all_items(z_.narrow(0, items.begin, items.size()), threads);
  const std::vector<ScoredItem> popular = popular_items(domain, options.k);
  const Items of_users = items_of_users(domain, options.exclude);
  for (std::size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const std::span<const std::string> block =
        keys.subspan(begin, std::min<std::size_t>(kBlock, keys.size() - begin));
    const PeopleRows rows = rows_for(domain, block);
    const std::vector<std::vector<ScoredItem>> lists =
        top_k(candidates, {values_of(rows.z)}, left_out(domain, block, rows, of_users), {},
              options.k, threads);
    for (std::size_t n = 0; n < block.size(); ++n) {
      const Basis basis = rows.basis[n];
      use({block[n], basis, basis == Basis::popular ? popular : lists[n]});
    }
  }
}

}  // namespace micrec
