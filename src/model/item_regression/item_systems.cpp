#include "model/item_regression/item_systems.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/number_hash.h"
#include "kernels/dispatch.h"
#include "kernels/item_system_element.h"
#include "kernels/scores.h"

namespace micrec {
namespace {

static_assert(ItemSystems::kMostNeighbours <= 128, "a neighbour has a bit of two words");

/// Some of an item's neighbours, by place.
struct Places {
  std::array<std::int32_t, 128> place;
  std::int32_t count = 0;

  void add(std::int32_t number) { place[count++] = number; }
};

Places places_of(const std::uint64_t (&met)[2]) {
  Places places;
  for (int word = 0; word < 2; ++word) {
    for (std::uint64_t bits = met[word]; bits != 0; bits &= bits - 1) {
      places.add(word * 64 + std::countr_zero(bits));
    }
  }
  return places;
}

constexpr int kFilterBits = 2;

bool is_one(const std::uint64_t (&met)[2]) {
  return (met[0] == 0) != (met[1] == 0) && (met[0] & (met[0] - 1)) == 0 &&
         (met[1] & (met[1] - 1)) == 0;
}

double& product_of(std::int32_t a, std::int32_t b, std::vector<double>& products) {
  const auto [column, row] = std::minmax(a, b);
  return products[row * ItemSystems::kMostNeighbours + column];
}

}  // namespace

std::vector<float> solver_numbers(const ItemRegressionSettings& settings, std::size_t modalities) {
  CHECK_EQ(settings.alpha.size(), modalities);
  CHECK_GT(settings.lambda, 0);
  std::vector<float> numbers = {static_cast<float>(settings.lambda)};
  for (const double alpha : settings.alpha) numbers.push_back(static_cast<float>(alpha * alpha));
  return numbers;
}

ItemSystems::ItemSystems(const ItemHubs& hubs, const std::vector<Range>& modality_columns)
    : hubs_(hubs),
      modality_columns_(modality_columns),
      after_hub_(hubs.count(), 0),
      products_(kMostNeighbours * kMostNeighbours) {}

void ItemSystems::make(const std::vector<ItemSystem>& items) {
  CHECK_LE(static_cast<std::int64_t>(items.size()), kSystemLanes);
  n_ = 0;
  for (const ItemSystem& item : items) {
    const auto count = static_cast<std::int64_t>(item.columns.size());
    CHECK_LE(count, kMostNeighbours);
    n_ = std::max(n_, padded_system(count));
  }
  together_.assign(floats_of_matrices(n_), 0);
  right_together_.assign(floats_of_right_sides(n_), 0);
  cross_.assign(floats_of_right_sides(n_), 0);
  alike_.assign(modality_columns_.size(), std::vector<float>(floats_of_matrices(n_), 0));
  right_alike_.assign(modality_columns_.size(), std::vector<float>(floats_of_right_sides(n_), 0));
  for (std::size_t i = 0; i < items.size(); ++i) {
    const int lane = static_cast<int>(i);
    for (std::size_t n = 0; n < items[i].columns.size(); ++n) {
      right_together_[n * kSystemLanes + lane] = items[i].together[n];
      cross_[n * kSystemLanes + lane] = items[i].cross[n];
    }
    write_column_products(items[i], {together_.data() + lane, kSystemLanes});
    if (items[i].features != nullptr) add_feature_products(items[i], lane);
  }
}

void ItemSystems::pack(const ItemSystem& item, std::int64_t i, const PackedSystems& to) {
  const std::int64_t first = to.first_neighbour[i];
  CHECK_EQ(first + static_cast<std::int64_t>(item.columns.size()), to.first_neighbour[i + 1]);
  std::ranges::copy(item.together, to.right_together + first);
  std::ranges::copy(item.cross, to.cross + first);
  std::ranges::copy(item.rows, to.rows + first);
  to.held[i] = item.held;
  write_column_products(item, {to.together + to.first_product[i], 1});
}

/// Whether who met hubs is found by their columns; and room for the people of the others.
void ItemSystems::choose_way(const ItemSystem& item) {
  // What a person's hubs take to be looked through, beside one number of a column.
  constexpr std::size_t kNumbersOfPerson = 8;
  std::size_t visits = 0;
  std::size_t of_hubs = 0;
  bool are_there = true;
  for (std::size_t n = 0; n < item.columns.size(); ++n) {
    (item.hub[n] < 0 ? visits : of_hubs) += item.columns[n].size();
    are_there = are_there && (item.hub[n] < 0 || !item.columns[n].empty());
  }
  walks_hubs_ = are_there && of_hubs <= kNumbersOfPerson * visits;
  bits_ = std::max(static_cast<int>(std::bit_width(2 * visits + 1)), 6 - kFilterBits);
  slots_.assign(std::size_t{1} << bits_, {-1, -1});
  filter_.assign(std::size_t{1} << (bits_ + kFilterBits - 6), 0);
  people_.clear();
  several_.clear();
}

/// Notes who met which of the neighbours that are no hubs. What is told of a person is out of the
/// first caches, so it is asked for here; who was met already is found in a table that is not.
void ItemSystems::meet(const ItemSystem& item) {
  constexpr std::size_t kAhead = 4;
  const std::size_t last = slots_.size() - 1;
  for (std::size_t n = 0; n < item.columns.size(); ++n) {
    if (n + kAhead < item.columns.size()) __builtin_prefetch(item.columns[n + kAhead].data());
    if (item.hub[n] >= 0) continue;
    for (const std::int32_t place : item.columns[n]) {
      const std::uint32_t hash = hash_of_number(place);
      std::size_t at = hash >> (32 - bits_);
      while (slots_[at].place >= 0 && slots_[at].place != place) at = (at + 1) & last;
      if (slots_[at].place < 0) {
        if (!walks_hubs_) hubs_.prefetch(place);
        const std::uint32_t bit = hash >> (32 - bits_ - kFilterBits);
        filter_[bit / 64] |= std::uint64_t{1} << (bit % 64);
        slots_[at] = {place, static_cast<std::int32_t>(people_.size())};
        people_.push_back({place, {0, 0}});
      }
      std::uint64_t(&met)[2] = people_[slots_[at].person].met;
      if (is_one(met)) {
        several_.push_back(slots_[at].person);
        if (walks_hubs_) hubs_.prefetch(place);
      }
      met[n / 64] |= std::uint64_t{1} << (n % 64);
    }
  }
}

/// The number in people_, -1: not among them.
std::int32_t ItemSystems::person_at(std::int32_t place) const {
  std::size_t at = hash_of_number(place) >> (32 - bits_);
  while (slots_[at].place >= 0 && slots_[at].place != place) at = (at + 1) & (slots_.size() - 1);
  return slots_[at].person;
}

/// Notes who of people_ met which hubs among the neighbours, by what is told of each, without a
/// branch for each: which of a person's hubs are neighbours cannot be foreseen, and few are.
/// Returns how many there are.
std::size_t ItemSystems::find_met_hubs(const ItemSystem& item) {
  constexpr std::size_t kAhead = 8;
  for (std::size_t n = 0; n < item.hub.size(); ++n) {
    if (item.hub[n] >= 0) after_hub_[item.hub[n]] = static_cast<std::uint8_t>(n + 1);
  }
  std::size_t found = 0;
  for (std::size_t person = 0; person < people_.size(); ++person) {
    hubs_.prefetch(people_[std::min(person + kAhead, people_.size() - 1)].place);
    const std::span<const std::uint16_t> hubs = hubs_.met_at(people_[person].place).hubs;
    if (found + hubs.size() > met_hubs_.size()) met_hubs_.resize(2 * (found + hubs.size()));
    for (const std::uint16_t hub : hubs) {
      met_hubs_[found] = {static_cast<std::int32_t>(person), after_hub_[hub] - 1};
      found += after_hub_[hub] > 0 ? 1 : 0;
    }
  }
  for (const std::int32_t hub : item.hub) {
    if (hub >= 0) after_hub_[hub] = 0;
  }
  return found;
}

/// The same by the columns of the hubs: first who may be among people_, without a branch, then who
/// is.
std::size_t ItemSystems::walk_hubs(const ItemSystem& item) {
  std::size_t found = 0;
  for (std::size_t n = 0; n < item.columns.size(); ++n) {
    if (item.hub[n] < 0) continue;
    const std::size_t begin = found;
    std::size_t maybe = begin;
    if (begin + item.columns[n].size() > met_hubs_.size()) {
      met_hubs_.resize(2 * (begin + item.columns[n].size()));
    }
    for (const std::int32_t place : item.columns[n]) {
      const std::uint32_t bit = hash_of_number(place) >> (32 - bits_ - kFilterBits);
      met_hubs_[maybe] = {place, static_cast<std::int32_t>(n)};
      maybe += filter_[bit / 64] >> (bit % 64) & 1;
    }
    for (std::size_t m = begin; m < maybe; ++m) {
      const std::int32_t place = met_hubs_[m].person;
      const std::int32_t person = person_at(place);
      if (person < 0) continue;
      hubs_.prefetch(place);
      met_hubs_[found++] = {person, static_cast<std::int32_t>(n)};
    }
  }
  return found;
}

/// Products of neighbours of which one at least is no hub are sums over people_; those of two hubs
/// are known, as are those of each with itself.
void ItemSystems::write_column_products(const ItemSystem& item, const Triangle& to) {
  std::fill(products_.begin(), products_.end(), 0.0);
  choose_way(item);
  meet(item);
  const std::size_t met_hubs = walks_hubs_ ? walk_hubs(item) : find_met_hubs(item);
  for (const std::int32_t number : several_) {
    const Person& person = people_[number];
    const double squared_weight = hubs_.met_at(person.place).squared_weight;
    const Places met = places_of(person.met);
    for (std::int32_t a = 0; a < met.count; ++a) {
      for (std::int32_t b = 0; b < a; ++b) {
        product_of(met.place[a], met.place[b], products_) += squared_weight;
      }
    }
  }
  for (const MetHub& of : std::span(met_hubs_).first(met_hubs)) {
    const double squared_weight = hubs_.met_at(people_[of.person].place).squared_weight;
    const Places met = places_of(people_[of.person].met);
    for (std::int32_t a = 0; a < met.count; ++a) {
      product_of(met.place[a], of.neighbour, products_) += squared_weight;
    }
  }
  const auto count = static_cast<std::int64_t>(item.columns.size());
  for (std::int64_t n = 0; n < count; ++n) {
    products_[n * (kMostNeighbours + 1)] = item.squared_length[n];
  }
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t column = 0; column <= row; ++column) {
      to.numbers[triangle_place(row, column) * to.stride] =
          static_cast<float>(products_[row * kMostNeighbours + column] * TrainingHistories::kUnit);
    }
  }
  look_up_hub_products(item, to);
}

/// All words are asked for, then all products, then these are read.
void ItemSystems::look_up_hub_products(const ItemSystem& item, const Triangle& to) {
  hub_pairs_.clear();
  const auto count = static_cast<std::int32_t>(item.columns.size());
  for (std::int32_t row = 0; row < count; ++row) {
    if (item.hub[row] < 0) continue;
    for (std::int32_t column = 0; column <= row; ++column) {
      if (item.hub[column] < 0) continue;
      hub_pairs_.push_back({item.hub[row], item.hub[column], triangle_place(row, column),
                            hubs_.word_of(item.hub[row], item.hub[column])});
    }
  }
  for (HubPair& pair : hub_pairs_) pair.at = hubs_.place_of_product(pair.at, pair.a, pair.b);
  for (const HubPair& pair : hub_pairs_)
    to.numbers[pair.to * to.stride] = hubs_.product_at(pair.at);
}

void ItemSystems::add_feature_products(const ItemSystem& item, int lane) {
  const auto rows = static_cast<std::int64_t>(item.rows.size()) + 1;  // the item's own is the last
  const std::int64_t width = modality_columns_.back().end;
  for (std::size_t m = 0; m < modality_columns_.size(); ++m) {
    if ((item.held >> m & 1) == 0) continue;
    const Range columns = modality_columns_[m];
    const auto row_of = [&](std::int64_t n) {
      return columns.begin +
             (n == rows - 1 ? item.own_features : item.features + item.rows[n] * width);
    };
    const RowPanels left(rows, columns.size(), kUserLanes, row_of);
    const RowPanels right(rows, columns.size(), kItemLanes, row_of);
    const std::int64_t stride = right.panels() * kItemLanes;
    std::vector<float> products(left.panels() * kUserLanes * stride);
    kernels().score_tile({left.panel(0), left.panels(), right.panel(0), right.panels(),
                          columns.size(), products.data()});
    for (std::int64_t row = 0; row < rows - 1; ++row) {
      for (std::int64_t column = 0; column <= row; ++column) {
        alike_[m][triangle_place(row, column) * kSystemLanes + lane] =
            products[row * stride + column];
      }
      right_alike_[m][row * kSystemLanes + lane] = products[(rows - 1) * stride + row];
    }
  }
}

void ItemSystems::solve(const ItemRegressionSettings& settings) {
  const std::vector<float> numbers = solver_numbers(settings, modality_columns_.size());
  const float lambda = numbers.front();
  const std::span<const float> alpha = std::span(numbers).subspan(1);  // squared
  keep_.resize(floats_of_right_sides(n_));
  right_.resize(floats_of_right_sides(n_));
  matrix_.resize(floats_of_matrices(n_));
  for (std::size_t e = 0; e < right_.size(); ++e) {
    float right = right_together_[e];
    for (std::size_t m = 0; m < alpha.size(); ++m) {
      right = with_features(right, alpha[m], right_alike_[m][e]);
    }
    keep_[e] = keep_of(right, cross_[e]);
    right_[e] = right * keep_[e];
  }
  for (std::int64_t row = 0; row < n_; ++row) {
    const float* const keep_row = keep_.data() + row * kSystemLanes;
    for (std::int64_t column = 0; column <= row; ++column) {
      const float* const keep_column = keep_.data() + column * kSystemLanes;
      const std::int64_t first = triangle_place(row, column) * kSystemLanes;
      float* const to = matrix_.data() + first;
      std::copy_n(together_.data() + first, kSystemLanes, to);
      for (std::size_t m = 0; m < alpha.size(); ++m) {
        const float* const alike = alike_[m].data() + first;
        for (int lane = 0; lane < kSystemLanes; ++lane) {
          to[lane] = with_features(to[lane], alpha[m], alike[lane]);
        }
      }
      for (int lane = 0; lane < kSystemLanes; ++lane) {
        to[lane] = matrix_number(to[lane], keep_row[lane], keep_column[lane]);
      }
    }
    float* const diagonal = matrix_.data() + triangle_place(row, row) * kSystemLanes;
    for (int lane = 0; lane < kSystemLanes; ++lane) {
      diagonal[lane] = on_diagonal(diagonal[lane], keep_row[lane], lambda);
    }
  }
  kernels().solve_positive({n_, matrix_.data(), right_.data()});
}

}  // namespace micrec
