#include "model/item_hubs.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

namespace micrec {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 23;  // products that are summed at a time

/// Lists of numbers of all ranks, rank 0's first. Ranks: collective.
std::vector<std::int32_t> gather(const char* name, const std::vector<std::int32_t>& own,
                                 Communicator& world) {
  const auto size = static_cast<std::int64_t>(own.size());
  const at::Tensor all =
      world.all_gather(name, at::tensor(own, at::kInt), gather_counts(world, name, size));
  const std::int32_t* const values = all.const_data_ptr<std::int32_t>();
  return {values, values + all.numel()};
}

/// The most hubs whose table takes no more than it may.
double most_hubs(double interactions, const HubRule& rule) {
  return std::min(std::sqrt(rule.table_bytes * interactions / 2), static_cast<double>(rule.most));
}

}  // namespace

double ItemHubs::most_bytes(double interactions, const HubRule& rule) {
  const double hubs = most_hubs(interactions, rule);
  return 2 * hubs * hubs + sizeof(std::uint16_t) * interactions;
}

ItemHubs::ItemHubs(const TrainingHistories& histories, const HubRule& rule, Communicator& world) {
  CHECK_LE(rule.most, std::numeric_limits<std::uint16_t>::max());
  static_assert(TrainingHistories::kLongestHistory <= std::numeric_limits<std::uint16_t>::max());
  choose(histories, rule);
  gather_met(histories, world);
  multiply(histories, world);
}

void ItemHubs::choose(const TrainingHistories& histories, const HubRule& rule) {
  const std::vector<std::int32_t>& degree = histories.training_degree();
  double interactions = 0;
  for (const std::int32_t people : degree) {
    interactions += people;
  }
  const auto most = static_cast<std::int64_t>(most_hubs(interactions, rule));
  for (std::int32_t item = 0; item < static_cast<std::int32_t>(degree.size()); ++item) {
    if (degree[item] > rule.more_people_than) items_.push_back(item);
  }
  if (count() > most) {
    std::ranges::nth_element(items_, items_.begin() + most, [&](std::int32_t a, std::int32_t b) {
      return degree[a] != degree[b] ? degree[a] > degree[b] : a < b;
    });
    items_.resize(most);
    std::ranges::sort(items_);
  }
  number_of_.assign(degree.size(), -1);
  for (std::size_t n = 0; n < items_.size(); ++n)
    number_of_[items_[n]] = static_cast<std::int32_t>(n);
}

void ItemHubs::gather_met(const TrainingHistories& histories, Communicator& world) {
  const std::vector<std::int32_t>& own = histories.own_people();
  std::vector<std::int32_t> lengths, numbers;
  for (std::size_t n = 0; n < own.size(); ++n) {
    const std::size_t before = numbers.size();
    for (const std::int32_t item : histories.items_of_own_person(static_cast<std::int64_t>(n))) {
      if (number_of_[item] >= 0) numbers.push_back(number_of_[item]);
    }
    lengths.push_back(static_cast<std::int32_t>(numbers.size() - before));
  }
  const std::vector<std::int32_t> people = gather("item_regression.hubs", own, world);
  lengths = gather("item_regression.hubs", lengths, world);
  numbers = gather("item_regression.hubs", numbers, world);

  std::vector<std::int32_t> length_of(histories.people(), 0);
  for (std::size_t n = 0; n < people.size(); ++n) length_of[people[n]] = lengths[n];
  for (const std::int32_t length : length_of) {
    first_met_.push_back(static_cast<std::int64_t>(met_by_.size()));
    met_by_.push_back(static_cast<std::uint16_t>(length));
    met_by_.resize(met_by_.size() + length);
  }
  auto from = numbers.begin();
  for (std::size_t n = 0; n < people.size(); ++n) {
    std::copy_n(from, lengths[n], met_by_.begin() + first_met_[people[n]] + 1);
    from += lengths[n];
  }
}

/// Sums are of whole numbers in double, so they are exact in any order; a block of rows at a time.
void ItemHubs::multiply(const TrainingHistories& histories, Communicator& world) {
  products_.resize(place(count(), 0));
  for (std::int64_t begin = 0; begin < count();) {
    const std::int64_t end = std::min(count(), begin + std::max<std::int64_t>(1, kBlock / count()));
    const std::int64_t first = place(begin, 0);
    at::Tensor sums = at::zeros({place(end, 0) - first}, at::kDouble);
    double* const sum = sums.mutable_data_ptr<double>();
    for (const std::int32_t person : histories.own_people()) {
      const std::span met(met_by(person) + 1, *met_by(person));
      const double weight = histories.squared_weight()[person];
      const auto is_before = [&](std::uint16_t hub) { return hub < begin; };
      for (auto row = std::ranges::partition_point(met, is_before); row != met.end() && *row < end;
           ++row) {
        double* const of_row = sum + (place(*row, 0) - first);
        for (auto column = met.begin(); column <= row; ++column) of_row[*column] += weight;
      }
    }
    world.all_reduce("item_regression.hub_products", sums);
    for (std::int64_t n = 0; n < sums.numel(); ++n) {
      products_[first + n] = static_cast<float>(sum[n] * TrainingHistories::kUnit);
    }
    begin = end;
  }
}

}  // namespace micrec
