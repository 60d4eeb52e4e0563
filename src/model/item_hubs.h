#pragma once

#include <cstdint>
#include <vector>

#include "model/training_histories.h"

namespace micrec {

/// Which items are hubs: the `most` that most people met in training, of those that more than
/// `more_people_than` met. Only so many that the table of their products takes no more than
/// `table_bytes` an interaction, so that it grows as the data do.
///
/// What it is chosen for: the column of an item that is no hub is walked for every item that has it
/// as a neighbour. From 48 people on a table is read in less time than a column; hubs beyond the
/// 16,384th were met by so few that they take little from a walk, and their table would no longer
/// lie in any cache.
struct HubRule {
  std::int64_t more_people_than = 48;
  std::int64_t most = 16384;
  double table_bytes = 16;
};

/// Hubs, the products of each two of their columns, and of every person the hubs that they met. With
/// these the system of an item needs the columns of its other neighbours alone, so that it costs the
/// same however popular its neighbours are.
class ItemHubs {
 public:
  /// Ranks    collective; every rank has the same.
  /// Cost     the square of how many hubs each person met; 2 * count()^2 bytes, 10 a person, and 2 an
  ///          interaction with a hub, on every rank.
  ItemHubs(const TrainingHistories& histories, const HubRule& rule, Communicator& world);

  /// What they take at most, of so many interactions. Ranks: local.
  static double most_bytes(double interactions, const HubRule& rule = {});

  std::int64_t count() const { return static_cast<std::int64_t>(items_.size()); }
  /// The number of an item among the hubs, -1 where it is none.
  std::int32_t number_of(std::int32_t item) const { return number_of_[item]; }
  /// The hubs that a person met: how many, then their numbers, rising. In one piece, so that it is
  /// fetched from memory at once.
  const std::uint16_t* met_by(std::int32_t person) const {
    return met_by_.data() + first_met_[person];
  }
  /// The product of the columns of two hubs.
  float product(std::int32_t a, std::int32_t b) const {
    return products_[a > b ? place(a, b) : place(b, a)];
  }

 private:
  static std::int64_t place(std::int64_t row, std::int64_t column) {
    return row * (row + 1) / 2 + column;
  }
  void choose(const TrainingHistories& histories, const HubRule& rule);
  void gather_met(const TrainingHistories& histories, Communicator& world);
  void multiply(const TrainingHistories& histories, Communicator& world);

  std::vector<std::int32_t> items_;      // rising
  std::vector<std::int32_t> number_of_;  // (items of all domains)
  std::vector<std::int64_t> first_met_;  // (people) where a person's list begins in ...
  std::vector<std::uint16_t> met_by_;    // ... their lists
  std::vector<float> products_;          // (count (count + 1) / 2) lower triangle by rows
};

}  // namespace micrec
