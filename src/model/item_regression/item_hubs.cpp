#include "model/item_regression/item_hubs.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/pages.h"
#include "graph/list_exchange.h"

namespace micrec {
namespace {

/// Products of the lower triangle, the diagonal with it.
double triangle(double hubs) { return hubs * (hubs + 1) / 2; }

}  // namespace

/// Bytes of the table of so many hubs and products.
double ItemHubs::table_bytes(double hubs, double products) {
  return hubs * (hubs / 128 + 1) * sizeof(Word) + sizeof(float) * products;
}

double ItemHubs::most_bytes(double people, double interactions, const HubRule& rule) {
  const auto most = static_cast<double>(rule.most);
  return std::min({rule.table_bytes * interactions, rule.most_table_bytes,
                   table_bytes(most, triangle(most))}) +
         kBytesOfPerson * people + sizeof(std::uint16_t) * interactions;
}

ItemHubs::ItemHubs(const TrainingHistories& histories, const HubRule& rule, Communicator& world) {
  CHECK_LE(rule.most, std::numeric_limits<std::uint16_t>::max());
  static_assert(TrainingHistories::kLongestHistory <= std::numeric_limits<std::uint16_t>::max());
  const std::vector<double> pairs = choose(histories, rule, world);
  std::vector<std::int32_t> met_by;
  for (const std::int32_t item : items_) met_by.push_back(histories.training_degree()[item]);
  first_walked_ = first_walked(met_by, rule);
  gather_met(histories, world);
  multiply(met_by, pairs, world);
}

std::vector<std::int32_t> ItemHubs::candidates(const std::vector<std::int32_t>& degree,
                                               const HubRule& rule) {
  std::vector<std::int32_t> items;
  for (std::int32_t item = 0; item < static_cast<std::int32_t>(degree.size()); ++item) {
    if (degree[item] > rule.more_people_than) items.push_back(item);
  }
  std::ranges::sort(items, [&](std::int32_t a, std::int32_t b) {
    return degree[a] != degree[b] ? degree[a] > degree[b] : a < b;
  });
  if (static_cast<std::int64_t>(items.size()) > rule.most) items.resize(rule.most);
  return items;
}

std::int64_t ItemHubs::most_within(std::span<const double> pairs, double interactions,
                                   const HubRule& rule) {
  const double most_bytes = std::min(rule.table_bytes * interactions, rule.most_table_bytes);
  double products = 0;
  std::int64_t hubs = 0;
  for (const double of_hub : pairs) {
    products += of_hub;
    const auto all = static_cast<double>(hubs + 1);
    if (table_bytes(all, std::min(products, triangle(all))) > most_bytes) break;
    ++hubs;
  }
  return hubs;
}

/// Returns of each hub and those before it how often two of them were met by a person.
std::vector<double> ItemHubs::choose(const TrainingHistories& histories, const HubRule& rule,
                                     Communicator& world) {
  const std::vector<std::int32_t>& degree = histories.training_degree();
  double interactions = 0;
  for (const std::int32_t people : degree) interactions += people;
  items_ = candidates(degree, rule);
  number_of_ = places_in(items_, histories.items());

  if (items_.empty()) return {};
  at::Tensor pairs = at::zeros({count()}, at::kDouble);  // of a hub and those before it
  auto* const of_hub = pairs.mutable_data_ptr<double>();
  for (std::size_t n = 0; n < histories.own_people().size(); ++n) {
    double before = 0;
    for (const std::int32_t hub : met_by_own(histories, static_cast<std::int64_t>(n))) {
      of_hub[hub] += ++before;
    }
  }
  world.all_reduce("item_regression.hubs", pairs);
  items_.resize(most_within({of_hub, items_.size()}, interactions, rule));
  number_of_ = places_in(items_, histories.items());
  return {of_hub, of_hub + count()};
}

/// The hubs that the n-th of the rank's people met, rising.
std::vector<std::uint16_t> ItemHubs::met_by_own(const TrainingHistories& histories,
                                                std::int64_t n) const {
  std::vector<std::uint16_t> met;
  for (const std::int32_t item : histories.items_of_own_person(n)) {
    if (number_of_[item] >= 0) met.push_back(static_cast<std::uint16_t>(number_of_[item]));
  }
  std::ranges::sort(met);
  return met;
}

void ItemHubs::gather_met(const TrainingHistories& histories, Communicator& world) {
  static_assert(kBytesOfPerson ==
                sizeof(std::int32_t) + sizeof(std::uint16_t) * (kHead + kAlign - 1));
  const std::vector<std::int32_t>& own = histories.own_people();
  std::int64_t most = 0;
  for (std::size_t n = 0; n < own.size(); ++n) {
    most += numbers_of_person(static_cast<std::int64_t>(
        histories.items_of_own_person(static_cast<std::int64_t>(n)).size()));
  }
  std::vector<std::uint16_t> records;
  reserve_huge(records, most);
  for (std::size_t n = 0; n < own.size(); ++n) {
    const std::vector<std::uint16_t> met = met_by_own(histories, static_cast<std::int64_t>(n));
    const double weight = histories.squared_weight()[own[n]];
    CHECK_LE(weight, std::numeric_limits<std::uint32_t>::max());
    const auto whole = static_cast<std::uint32_t>(weight);
    records.insert(records.end(),
                   {static_cast<std::uint16_t>(whole), static_cast<std::uint16_t>(whole >> 16),
                    static_cast<std::uint16_t>(met.size())});
    records.insert(records.end(), met.begin(), met.end());
    records.resize((records.size() + kAlign - 1) / kAlign * kAlign, 0);
  }
  const std::vector<std::int32_t> people = gather_lists(world, "item_regression.hubs", own);
  records_ = gather_lists(world, "item_regression.hubs", std::move(records));
  CHECK_LE(records_.size() / kAlign, std::numeric_limits<std::int32_t>::max());
  place_of_.assign(histories.people(), -1);  // of who is a user of no domain
  std::int32_t place = 0;
  for (const std::int32_t person : people) {
    place_of_[person] = place;
    const auto hubs = static_cast<std::int64_t>(met_at(place).hubs.size());
    place += static_cast<std::int32_t>(numbers_of_person(hubs) / kAlign);
  }
}

std::vector<std::int64_t> ItemHubs::cut_rows(std::span<const std::int32_t> people, int ranks) {
  const auto count = static_cast<std::int64_t>(people.size());
  double all = 0;
  for (const std::int32_t of_hub : people) all += of_hub;
  std::vector<std::int64_t> first = {0};
  double before = 0;
  for (std::int64_t row = 0; row < count; ++row) {
    while (before >= all * static_cast<double>(first.size()) / ranks) first.push_back(row);
    before += people[row];
  }
  first.resize(ranks, count);
  first.push_back(count);
  return first;
}

std::int64_t ItemHubs::first_walked(std::span<const std::int32_t> people, const HubRule& rule) {
  return std::ranges::partition_point(
             people, [&](std::int32_t of_hub) { return of_hub > rule.walked_up_to; }) -
         people.begin();
}

/// Who met each hub of some rows, by their places.
NumberLists ItemHubs::places_of_people(Range rows) const {
  return lists_of<std::int32_t>(rows.size(), [&](const auto& use) {
    for (const std::int32_t place : place_of_) {
      if (place < 0) continue;
      const std::span<const std::uint16_t> met = met_at(place).hubs;
      for (auto hub = std::ranges::lower_bound(met, rows.begin); hub != met.end(); ++hub) {
        if (*hub >= rows.end) break;
        use(*hub - rows.begin, place);
      }
    }
  });
}

/// Sums are of whole numbers in double, so they are exact in any order.
void ItemHubs::multiply(std::span<const std::int32_t> met_by, std::span<const double> pairs,
                        Communicator& world) {
  const std::vector<std::int64_t> cut = cut_rows(met_by, world.size());
  const Range rows{cut[world.rank()], cut[world.rank() + 1]};
  const NumberLists people = places_of_people(rows);
  std::vector<std::uint64_t> is_met(first_word(rows.end) - first_word(rows.begin), 0);
  double most = 0;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    most += std::min(pairs[row], static_cast<double>(row + 1));
  }
  std::vector<float> products;
  reserve_huge(products, static_cast<std::size_t>(most));
  std::vector<double> sum(rows.end, 0);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const std::span words(is_met.data() + first_word(row) - first_word(rows.begin), row / 64 + 1);
    for (const std::int32_t place : people.of(row - rows.begin)) {
      const Met met = met_at(place);
      for (const std::uint16_t column : met.hubs) {
        if (column > row) break;
        sum[column] += met.squared_weight;
        words[column / 64] |= std::uint64_t{1} << (column % 64);
      }
    }
    for (std::size_t word = 0; word < words.size(); ++word) {
      for (std::uint64_t bits = words[word]; bits != 0; bits &= bits - 1) {
        const double product = std::exchange(sum[word * 64 + std::countr_zero(bits)], 0.0);
        products.push_back(static_cast<float>(product * TrainingHistories::kUnit));
      }
    }
  }
  is_met = gather_lists(world, "item_regression.hub_products", std::move(is_met));
  products_ = gather_lists(world, "item_regression.hub_products", std::move(products));
  index_products(is_met);
}

void ItemHubs::index_products(std::span<const std::uint64_t> is_met) {
  CHECK_LE(products_.size(), std::numeric_limits<std::uint32_t>::max());
  std::uint32_t first = 0;
  reserve_huge(words_, is_met.size());
  for (const std::uint64_t bits : is_met) {
    words_.push_back(
        {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32), first});
    first += static_cast<std::uint32_t>(std::popcount(bits));
  }
  CHECK_EQ(first, products_.size());
}

}  // namespace micrec
