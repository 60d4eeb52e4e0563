#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "model/item_regression/training_histories.h"

namespace micrec {

/// Which items are hubs: the `most` that most people met in training, of those that more than
/// `more_people_than` met. Only so many that the table of their products takes no more than
/// `table_bytes` an interaction, so that it grows as the data do, and than `most_table_bytes`.
///
/// What it is chosen for: the column of an item that is no hub is walked for every item that has it
/// as a neighbour. From 48 people on a product is looked up in less time than a column is walked.
///
/// Products of a hub with an item that is none come from the hub's column, or from what is told of
/// the people who met the other, whichever is less; of hubs that more than `walked_up_to` people
/// met from the latter.
struct HubRule {
  std::int64_t more_people_than = 48;
  std::int64_t most = 65535;
  double table_bytes = 32;
  double most_table_bytes = 1 << 30;
  std::int64_t walked_up_to = 1024;
};

/// Hubs, the products of each two of their columns, and of every person the hubs that they met.
/// With these the system of an item needs the columns of its other neighbours, and of hubs only
/// those that are short beside them, so that it costs the same however popular its neighbours are.
///
/// Most of the products are zero where hubs are many, so the table has a bit for each two hubs and
/// a number for each two that somebody met together: what it has grows as the interactions.
class ItemHubs {
 public:
  /// Ranks    collective; every rank has the same, and makes an equal share of the table.
  /// Cost     over all ranks the square of how many hubs each person met; the table of the rule, at
  ///          most kBytesOfPerson a person, and 2 bytes an interaction with a hub, on every rank.
  ItemHubs(const TrainingHistories& histories, const HubRule& rule, Communicator& world);

  static constexpr std::int64_t kBytesOfPerson = 24;

  /// What they take at most, of so many people and interactions. Ranks: local.
  static double most_bytes(double people, double interactions, const HubRule& rule = {});

  // What a plan asks, of the same rule. Ranks: local.
  /// The items that more people met than the rule says, as many as it takes at most; the one that
  /// most people met first. Shapes   degree: (items).
  static std::vector<std::int32_t> candidates(const std::vector<std::int32_t>& degree,
                                              const HubRule& rule);
  /// The most of these whose table is not too large for certain: it has no more products than two
  /// of them were met by a person, each pair of a person counted. Shapes   pairs: (candidates) of
  /// each and those before it, itself too.
  static std::int64_t most_within(std::span<const double> pairs, double interactions,
                                  const HubRule& rule);
  /// Rows of the table that take about as long: the first of each rank's, and the end of all.
  /// Shapes   people: (hubs) who met each.
  static std::vector<std::int64_t> cut_rows(std::span<const std::int32_t> people, int ranks);
  /// Where the bits of a row's columns, those up to itself, begin in whole words.
  static std::int64_t first_word(std::int64_t row) {
    const std::int64_t words = row / 64;
    return 32 * words * (words + 1) + row % 64 * (words + 1);
  }
  /// The first of them whose column is walked too. Shapes   people: (hubs) who met each, falling.
  static std::int64_t first_walked(std::span<const std::int32_t> people, const HubRule& rule);
  /// Numbers of 2 bytes that tell what somebody met of them.
  static std::int64_t numbers_of_person(std::int64_t hubs) {
    return (kHead + hubs + kAlign - 1) / kAlign * kAlign;
  }

  std::int64_t count() const { return static_cast<std::int64_t>(items_.size()); }
  /// The number of an item among the hubs, the one that most people met first; -1 where it is none.
  std::int32_t number_of(std::int32_t item) const { return number_of_[item]; }

  /// Whether the column of an item is walked, be it no hub or one that few met.
  bool is_walked(std::int32_t item) const {
    return number_of_[item] < 0 || number_of_[item] >= first_walked_;
  }

  /// Where it is told of a person what they met.
  std::int32_t place_of(std::int32_t person) const { return place_of_[person]; }
  /// A person's squared weight in units of TrainingHistories::kUnit, and the hubs that they met,
  /// rising. In one piece, so that both are fetched from memory at once.
  struct Met {
    double squared_weight;
    std::span<const std::uint16_t> hubs;
  };
  Met met_at(std::int32_t place) const {
    const std::uint16_t* const record = record_at(place);
    return {static_cast<double>(record[0] + (std::uint32_t{record[1]} << 16)),
            {record + kHead, record[2]}};
  }
  void prefetch(std::int32_t place) const { __builtin_prefetch(record_at(place)); }

  /// The product of the columns of two hubs, in three steps, so that what many products need can be
  /// asked for before the first is read: where it is told whether it is zero; where it lies, -1: it
  /// is zero; and itself.
  std::int64_t word_of(std::int32_t a, std::int32_t b) const {
    const auto [column, row] = std::minmax(a, b);
    const std::int64_t word = first_word(row) + column / 64;
    __builtin_prefetch(&words_[word]);
    return word;
  }
  std::int64_t place_of_product(std::int64_t word, std::int32_t a, std::int32_t b) const {
    const Word& of = words_[word];
    const std::uint64_t bit = std::uint64_t{1} << (std::min(a, b) % 64);
    const std::uint64_t is_met = of.is_met();
    if ((is_met & bit) == 0) return -1;
    const std::int64_t place = of.first + std::popcount(is_met & (bit - 1));
    __builtin_prefetch(&products_[place]);
    return place;
  }
  float product_at(std::int64_t place) const { return place < 0 ? 0 : products_[place]; }
  float product(std::int32_t a, std::int32_t b) const {
    return product_at(place_of_product(word_of(a, b), a, b));
  }

 private:
  static constexpr std::int64_t kHead = 3;   // numbers before a person's hubs
  static constexpr std::int64_t kAlign = 8;  // numbers that a place stands for

  const std::uint16_t* record_at(std::int32_t place) const {
    return records_.data() + kAlign * place;
  }
  static double table_bytes(double hubs, double products);

  std::vector<double> choose(const TrainingHistories& histories, const HubRule& rule,
                             Communicator& world);
  void gather_met(const TrainingHistories& histories, Communicator& world);
  std::vector<std::uint16_t> met_by_own(const TrainingHistories& histories, std::int64_t n) const;
  NumberLists places_of_people(Range rows) const;
  void multiply(std::span<const std::int32_t> met_by, std::span<const double> pairs,
                Communicator& world);
  void index_products(std::span<const std::uint64_t> is_met);

  std::vector<std::int32_t> items_;  // the one that most people met first
  std::int64_t first_walked_ = 0;
  std::vector<std::int32_t> number_of_;  // (items of all domains)
  std::vector<std::int32_t> place_of_;   // (people) where a person's record begins in ...
  std::vector<std::uint16_t> records_;   // ... all of them: weight in two halves, how many hubs,
                                         // and these
  // The lower triangle of the products by rows, without those that are zero.
  struct Word {
    std::uint32_t low, high;  // a bit a column
    std::uint32_t first;      // where the first of its products lies
    std::uint64_t is_met() const { return std::uint64_t{high} << 32 | low; }
  };
  std::vector<Word> words_;      // of all rows
  std::vector<float> products_;  // that are not zero
};

}  // namespace micrec
