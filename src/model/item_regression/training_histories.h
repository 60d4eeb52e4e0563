#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "graph/list_exchange.h"
#include "model/step/shard.h"

namespace micrec {

/// The place of each number below `count` in a list without repeats, -1 where it is not there.
std::vector<std::int32_t> places_in(std::span<const std::int32_t> list, std::int64_t count);

/// What people did in training, as a matrix of people and items of all domains, sharded over the
/// ranks by person and, once more, by item. A row is weighted by the person's activity, the number
/// of their training interactions, to the power -1/4; then all rows by one number, so that the mean
/// square of these weights over the people who did something is 1.
///
/// Products of two items' columns are sums of squared weights. Those are whole multiples of 2^-20,
/// so that a sum has the same bits in any order.
class TrainingHistories {
 public:
  /// Of a person with more than this many items a seeded sample of so many stands for all.
  static constexpr std::int64_t kLongestHistory = 1000;
  /// Takes the others out of a person's items, where there are more. Returns what decides for one
  /// of them: those with keys above it are out. Ranks: local.
  static std::optional<std::uint64_t> sample(std::uint64_t seed, std::int32_t person,
                                             std::vector<std::int32_t>& items);
  static constexpr double kUnit = 1.0 / (1 << 20);

  /// Ranks: collective. The shard must be the training graph and outlive this.
  TrainingHistories(const Shard& shard, std::uint64_t seed);

  std::int64_t people() const { return static_cast<std::int64_t>(squared_weight_.size()); }
  std::int64_t items() const { return static_cast<std::int64_t>(squared_length_.size()); }
  std::int64_t people_sampled() const {
    return people_sampled_;
  }  ///< whose histories were too long

  /// Squared weight of every person, in units of kUnit. (people)
  const std::vector<double>& squared_weight() const { return squared_weight_; }
  /// Squared length of every item's column, in units of kUnit. (items of all domains)
  const std::vector<double>& squared_length() const { return squared_length_; }

  /// How many people met every item in training, sampled or not. (items of all domains)
  const std::vector<std::int32_t>& training_degree() const { return training_degree_; }

  /// The rank's people, rising; and the items that the n-th of them met, rising.
  const std::vector<std::int32_t>& own_people() const { return own_people_; }
  std::span<const std::int32_t> items_of_own_person(std::int64_t n) const { return rows_.of(n); }
  /// The rank's items, numbered over all domains, rising; and the people who met the n-th of them.
  const std::vector<std::int32_t>& own_items() const { return own_items_; }
  std::span<const std::int32_t> people_of_own(std::int64_t n) const { return columns_.of(n); }

  /// Items of each of these people, rising; people of each of these items. Ranks: collective.
  NumberLists items_of(std::span<const std::int32_t> people) const;
  NumberLists people_of(std::span<const std::int32_t> items) const;

 private:
  std::vector<std::vector<std::int32_t>> collect_rows();
  void sample_long_rows(std::vector<std::vector<std::int32_t>>& rows, std::uint64_t seed);
  void weigh_people();

  const Shard& shard_;
  std::vector<std::int32_t> rank_of_person_;   // (people) -1: a user of no domain
  std::vector<std::int32_t> own_people_;       // rising
  std::vector<std::int32_t> place_of_person_;  // (people) in own_people_, or -1
  NumberLists rows_;                           // of own_people_
  std::vector<std::int32_t> own_items_;        // rising
  std::vector<std::int32_t> place_of_item_;    // (items) in own_items_, or -1
  NumberLists columns_;                        // of own_items_
  std::vector<std::int32_t> training_degree_;
  std::vector<double> squared_weight_;
  std::vector<double> squared_length_;
  std::int64_t people_sampled_ = 0;
};

}  // namespace micrec
