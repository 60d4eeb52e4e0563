#include "model/item_regression/training_histories.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/random.h"
#include "kernels/upload.h"

namespace micrec {
namespace {

/// The sample of a long history: the items whose keys are the smallest.
std::uint64_t key_of(const Random& random, std::int32_t person, std::int32_t item) {
  const std::uint64_t pair = static_cast<std::uint64_t>(static_cast<std::uint32_t>(person)) << 32 |
                             static_cast<std::uint32_t>(item);
  const auto bits = random.bits(pair);
  return static_cast<std::uint64_t>(bits[0]) << 32 | bits[1];
}

struct Sampled {
  std::int64_t person;
  std::uint64_t largest_key;
};

}  // namespace

std::vector<std::int32_t> places_in(std::span<const std::int32_t> list, std::int64_t count) {
  std::vector<std::int32_t> places(count, -1);
  for (std::size_t n = 0; n < list.size(); ++n) places[list[n]] = static_cast<std::int32_t>(n);
  return places;
}

std::optional<std::uint64_t> TrainingHistories::sample(std::uint64_t seed, std::int32_t person,
                                                       std::vector<std::int32_t>& items) {
  if (static_cast<std::int64_t>(items.size()) <= kLongestHistory) return std::nullopt;
  const Random random(seed, Purpose::history_sample);
  std::vector<std::uint64_t> keys;
  for (const std::int32_t item : items) keys.push_back(key_of(random, person, item));
  const auto last = keys.begin() + (kLongestHistory - 1);
  std::nth_element(keys.begin(), last, keys.end());
  std::erase_if(items, [&](std::int32_t item) { return key_of(random, person, item) > *last; });
  return *last;
}

TrainingHistories::TrainingHistories(const Shard& shard, std::uint64_t seed)
    : shard_(shard), own_items_(whole_items(shard)) {
  const NodeSpace& space = shard.space();
  rank_of_person_.assign(shard.summary->people.count, -1);
  for (std::int64_t user = 0; user < space.users(); ++user) {
    std::int32_t& rank = rank_of_person_[shard.summary->people.person[user]];
    if (rank < 0) rank = shard.whole.owner[user];
  }
  for (std::size_t person = 0; person < rank_of_person_.size(); ++person) {
    if (rank_of_person_[person] == shard.world->rank()) {
      own_people_.push_back(static_cast<std::int32_t>(person));
    }
  }
  place_of_person_ = places_in(own_people_, shard.summary->people.count);
  place_of_item_ = places_in(own_items_, space.items());
  training_degree_.assign(shard.summary->training_degree.begin() + space.users(),
                          shard.summary->training_degree.end());
  std::vector<std::vector<std::int32_t>> rows = collect_rows();
  sample_long_rows(rows, seed);
  for (const std::vector<std::int32_t>& row : rows) rows_.add(row);
  weigh_people();
}

/// The items of each of own_people_, rising. All nodes of a person are in one row part.
std::vector<std::vector<std::int32_t>> TrainingHistories::collect_rows() {
  const NodeSpace& space = shard_.space();
  const Pattern& pattern = shard_.graph->pattern();
  const std::vector<GlobalNode>& local = shard_.graph->local_to_global();
  std::vector<std::vector<std::int32_t>> rows(own_people_.size());
  const std::vector<GlobalNode>& owned = shard_.owned();
  for (std::size_t row = 0; row < owned.size() && space.is_user(owned[row]); ++row) {
    const std::int32_t place = place_of_person_[shard_.summary->people.person[value(owned[row])]];
    if (place < 0) continue;
    for (std::int64_t n = pattern.begin(row); n < pattern.end(row); ++n) {
      const GlobalNode item = local[pattern.columns[n]];
      rows[place].push_back(static_cast<std::int32_t>(value(item) - space.users()));
    }
  }
  for (std::vector<std::int32_t>& row : rows) std::ranges::sort(row);
  return rows;
}

/// Takes what a sample leaves out from the long rows, and from the columns.
void TrainingHistories::sample_long_rows(std::vector<std::vector<std::int32_t>>& rows,
                                         std::uint64_t seed) {
  const Random random(seed, Purpose::history_sample);
  std::vector<Sampled> own;
  for (std::size_t n = 0; n < rows.size(); ++n) {
    const std::optional<std::uint64_t> largest_key = sample(seed, own_people_[n], rows[n]);
    if (largest_key) own.push_back({own_people_[n], *largest_key});
  }
  std::unordered_map<std::int32_t, std::uint64_t> largest_key;
  for (const Sampled& sampled :
       gather_lists(*shard_.world, "item_regression.sampled", std::move(own))) {
    largest_key.emplace(static_cast<std::int32_t>(sampled.person), sampled.largest_key);
  }
  people_sampled_ = static_cast<std::int64_t>(largest_key.size());

  const NodeSpace& space = shard_.space();
  const Pattern& pattern = shard_.graph->pattern();
  const std::vector<GlobalNode>& local = shard_.graph->local_to_global();
  for (const std::int32_t item : own_items_) {
    const std::int32_t row = shard_.row_of[space.users() + item];
    std::vector<std::int32_t> people;
    for (std::int64_t n = pattern.begin(row); n < pattern.end(row); ++n) {
      const std::int32_t person = shard_.summary->people.person[value(local[pattern.columns[n]])];
      const auto found = largest_key.empty() ? largest_key.end() : largest_key.find(person);
      if (found == largest_key.end() || key_of(random, person, item) <= found->second) {
        people.push_back(person);
      }
    }
    std::ranges::sort(people);
    columns_.add(people);
  }
}

void TrainingHistories::weigh_people() {
  const DatasetSummary& summary = *shard_.summary;
  std::vector<std::int64_t> activity(summary.people.count, 0);
  for (std::int64_t user = 0; user < shard_.space().users(); ++user) {
    activity[summary.people.person[user]] += summary.training_degree[user];
  }
  double sum = 0;
  std::int64_t active = 0;
  for (const std::int64_t count : activity) {
    if (count == 0) continue;
    sum += 1 / std::sqrt(static_cast<double>(count));
    ++active;
  }
  const double factor = static_cast<double>(active) / sum;
  for (const std::int64_t count : activity) {
    squared_weight_.push_back(
        count == 0 ? 0 : std::round(factor / std::sqrt(static_cast<double>(count)) / kUnit));
  }

  at::Tensor lengths = at::zeros({shard_.space().items()}, at::kDouble);
  for (std::size_t n = 0; n < own_items_.size(); ++n) {
    double length = 0;
    for (const std::int32_t person : columns_.of(static_cast<std::int64_t>(n))) {
      length += squared_weight_[person];
    }
    lengths.mutable_data_ptr<double>()[own_items_[n]] = length;
  }
  shard_.world->all_reduce("item_regression.lengths", lengths);
  squared_length_ = download<double>(lengths);
}

NumberLists TrainingHistories::items_of(std::span<const std::int32_t> people) const {
  return fetch_lists(
      *shard_.world, "item_regression.histories", people,
      [&](std::int32_t person) { return rank_of_person_[person]; },
      [&](std::int32_t person) { return rows_.of(place_of_person_[person]); });
}

NumberLists TrainingHistories::people_of(std::span<const std::int32_t> items) const {
  const std::int64_t users = shard_.space().users();
  return fetch_lists(
      *shard_.world, "item_regression.columns", items,
      [&](std::int32_t item) { return shard_.whole.owner[users + item]; },
      [&](std::int32_t item) { return columns_.of(place_of_item_[item]); });
}

}  // namespace micrec
