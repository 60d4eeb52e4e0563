#include "model/item_regression/item_regression_costs.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/number_lists.h"
#include "cluster/communicator.h"
#include "graph/approximate_neighbours.h"
#include "model/item_regression/item_features.h"
#include "model/item_regression/item_regression_fit.h"
#include "model/item_regression/item_systems.h"
#include "model/item_regression/training_histories.h"

namespace micrec {
namespace {

constexpr double kCountBytes = 8;  // of a list, sent ahead of it
/// Rows that a query is compared with while graphs of near items are built and asked: as measured
/// of 300,000 items.
constexpr double kComparedByGraphs = 12'000;

/// What one rank sends, by exchange.
class Sent {
 public:
  Sent(int rank, int ranks) : rank_(rank), ranks_(ranks), costs_(ProcessGrid{ranks, 1}) {}

  StepCosts& costs() { return costs_; }

  void add(const char* name, double calls, double bytes) {
    costs_.exchange(name, Group::world, calls, bytes);
  }
  /// In an exchange that is counted already.
  void joins(const char* name, double bytes) { costs_.joins(name, bytes); }
  /// Own bytes go to every other rank.
  void gathered(const char* name, double bytes) { add(name, 1, peers() * bytes); }
  /// The same, after how many they are.
  void gathered_list(const char* name, double bytes) {
    gathered(name, kCountBytes);
    gathered(name, bytes);
  }
  /// From rank 0.
  void broadcast(const char* name, double bytes) { add(name, 1, rank_ == 0 ? peers() * bytes : 0); }
  /// A sum of so many numbers of 8 bytes.
  void reduced(const char* name, std::int64_t numbers) {
    const auto bytes = kDoubleBytes * static_cast<double>(numbers);
    if (bytes * ranks_ <= kOneRoundBytes) return gathered(name, bytes);
    const std::int64_t own = numbers * (rank_ + 1) / ranks_ - numbers * rank_ / ranks_;
    const double own_bytes = kDoubleBytes * static_cast<double>(own);
    add(name, 1, bytes - own_bytes + peers() * own_bytes);
  }
  /// Lists to every rank, of so many bytes in all, after how many they are.
  void lists(const char* name, double bytes) { add(name, 2, kCountBytes * peers() + bytes); }

 private:
  double peers() const { return ranks_ - 1; }

  int rank_;
  int ranks_;
  StepCosts costs_;
};

/// What people did, as TrainingHistories has it of all ranks.
struct Histories {
  explicit Histories(const ItemRegressionShape& shape);

  std::int64_t items() const { return static_cast<std::int64_t>(owner_of_item.size()); }
  std::int64_t people() const { return static_cast<std::int64_t>(owner_of_person.size()); }

  std::vector<std::int32_t> owner_of_person;  // -1: a user of no domain
  std::vector<std::int32_t> owner_of_item;
  NumberLists of_person;                      // items, rising
  NumberLists of_item;                        // people
  std::vector<std::int32_t> degree;           // (items) sampled or not
  std::vector<std::int64_t> sampled_of_rank;  // people
};

Histories::Histories(const ItemRegressionShape& shape)
    : owner_of_person(shape.people.count, -1), sampled_of_rank(shape.whole.ranks, 0) {
  const std::int64_t users = shape.space.users();
  const NumberLists users_of_person = places_by_number(shape.people.person, people());
  for (std::int64_t user = 0; user < users; ++user) {
    std::int32_t& owner = owner_of_person[shape.people.person[user]];
    if (owner < 0) owner = shape.whole.owner[user];
  }
  for (std::int64_t node = users; node < shape.space.nodes(); ++node) {
    owner_of_item.push_back(shape.whole.owner[node]);
    degree.push_back(static_cast<std::int32_t>(shape.graph.degree(node)));
  }
  std::vector<std::int32_t> history;
  for (std::int32_t person = 0; person < static_cast<std::int32_t>(people()); ++person) {
    history.clear();
    for (const std::int32_t user : users_of_person.of(person)) {
      for (const std::int32_t item : shape.graph.of(user)) {
        history.push_back(static_cast<std::int32_t>(item - users));
      }
    }
    std::ranges::sort(history);
    if (TrainingHistories::sample(shape.seed, person, history)) {
      ++sampled_of_rank[owner_of_person[person]];
    }
    of_person.add(history);
  }
  of_item = lists_of<std::int32_t>(items(), [&](const auto& use) {
    for (std::int32_t person = 0; person < people(); ++person) {
      for (const std::int32_t item : of_person.of(person)) use(item, person);
    }
  });
}

/// Hubs as ItemHubs chooses them, and of each the products with itself and those before it that may
/// not be zero.
struct Hubs {
  Hubs(const Histories& histories, const HubRule& rule);

  bool is_walked(std::int32_t item) const {
    return number_of[item] < 0 || number_of[item] >= first_walked;
  }

  std::int64_t candidates = 0;
  std::int64_t first_walked = 0;
  std::vector<std::int32_t> number_of;  // (items) -1: none
  std::vector<std::int32_t> met_by;     // (hubs) in training
  std::vector<double> products;         // (hubs) at most
};

Hubs::Hubs(const Histories& histories, const HubRule& rule) {
  const std::vector<std::int32_t> items = ItemHubs::candidates(histories.degree, rule);
  candidates = static_cast<std::int64_t>(items.size());
  number_of = places_in(items, histories.items());
  products.assign(items.size(), 0);
  std::vector<std::int32_t> met;
  for (std::int64_t person = 0; person < histories.people(); ++person) {
    met.clear();
    for (const std::int32_t item : histories.of_person.of(person)) {
      if (number_of[item] >= 0) met.push_back(number_of[item]);
    }
    std::ranges::sort(met);
    for (std::size_t n = 0; n < met.size(); ++n) products[met[n]] += static_cast<double>(n + 1);
  }
  const double interactions =
      std::accumulate(histories.degree.begin(), histories.degree.end(), 0.0);
  products.resize(ItemHubs::most_within(products, interactions, rule));
  const auto count = static_cast<std::int32_t>(products.size());
  for (std::int32_t& number : number_of) {
    if (number >= count) number = -1;
  }
  for (std::int32_t hub = 0; hub < count; ++hub) {
    met_by.push_back(histories.degree[items[hub]]);
    products[hub] = std::min(products[hub], static_cast<double>(hub + 1));
  }
  first_walked = ItemHubs::first_walked(met_by, rule);
}

/// What lists bring along, by the rank that has them.
struct ByOwner {
  explicit ByOwner(int ranks) : lists(ranks, 0), values(ranks, 0), longest(ranks, 0) {}

  void add(std::int32_t owner, std::int64_t length) {
    const auto values_of_list = static_cast<double>(length);
    lists[owner] += 1;
    values[owner] += values_of_list;
    longest[owner] = std::max(longest[owner], values_of_list);
  }
  /// Those of other ranks, at most so many of each.
  void leave(int rank, double most) {
    lists[rank] = values[rank] = 0;
    for (std::size_t owner = 0; owner < lists.size(); ++owner) {
      lists[owner] = std::min(lists[owner], most);
      values[owner] = std::min(values[owner], most * longest[owner]);
    }
  }
  double all_lists() const { return std::accumulate(lists.begin(), lists.end(), 0.0); }

  std::vector<double> lists;
  std::vector<double> values;
  std::vector<double> longest;
};

class Planned {
 public:
  explicit Planned(const ItemRegressionShape& shape)
      : shape_(shape), histories_(shape), hubs_(histories_, shape.hubs) {
    for (int rank = 0; rank < shape.whole.ranks; ++rank) {
      sent_.emplace_back(rank, shape.whole.ranks);
    }
    for (const std::int64_t width : shape.feature_width) {
      columns_ += std::min<std::int64_t>(width, ItemFeatures::kColumns);
    }
  }

  std::vector<StepCosts> costs() {
    features();
    histories();
    hubs();
    searches();
    for (const ItemRegressionSolve& solve : shape_.solves) batches(solve);
    work();
    std::vector<StepCosts> costs;
    for (Sent& sent : sent_) {
      sent.reduced("item_regression.count", 1);
      costs.push_back(std::move(sent.costs()));
    }
    return costs;
  }

 private:
  int ranks() const { return shape_.whole.ranks; }
  Range items_of(int domain) const { return shape_.space.item_numbers(domain); }
  void features();
  void histories();
  void hubs();
  void searches();
  void search(Range items);
  void batches(const ItemRegressionSolve& solve);
  void batch(int rank, std::span<const std::int32_t> items, int domain, bool crosses);
  ByOwner people_of(int rank, std::span<const std::int32_t> items);
  ByOwner columns_of(std::span<const std::int32_t> items, int domain, bool crosses,
                     bool walked_only) const;
  ByOwner neighbours_of(int rank, std::int64_t items, int domain, bool crosses, bool walked_only);
  void fetched(const char* name, int rank, const ByOwner& of, std::vector<double>& answered);
  double share_of(const ItemRegressionSolve& solve) const;
  void work();

  const ItemRegressionShape& shape_;
  Histories histories_;
  Hubs hubs_;
  std::int64_t columns_ = 0;                     // of all features
  std::vector<Sent> sent_;                       // (ranks)
  NumberLists own_items_;                        // (ranks)
  std::vector<std::int32_t> met_;                // by the people of the last batch, each once
  std::vector<std::int32_t> asked_by_, met_in_;  // (people), (items) the last batch, from 1
  std::int32_t batches_ = 0;                     // planned so far
  // (domains, 2, 2) the columns of all items or of those that are walked, of all domains or of one,
  // where they are asked for.
  std::vector<std::optional<ByOwner>> columns_of_all_;
  // (ranks) bytes that answer questions.
  std::vector<double> histories_answered_, columns_answered_, features_answered_;
};

void Planned::features() {
  for (const std::int64_t width : shape_.feature_width) {
    const std::int64_t columns = std::min<std::int64_t>(width, ItemFeatures::kColumns);
    for (Sent& sent : sent_) {
      sent.broadcast("features.mean", kFloatBytes * static_cast<double>(width));
      if (width > columns) {
        sent.broadcast("features.components", kFloatBytes * static_cast<double>(width * columns));
      }
      sent.broadcast("features.scale", kFloatBytes);
      for (int domain = 0; domain < shape_.space.domains(); ++domain) {
        sent.broadcast("item_regression.mean", kFloatBytes * static_cast<double>(columns));
      }
      sent.broadcast("item_regression.scale", kFloatBytes);
    }
  }
}

void Planned::histories() {
  own_items_ = places_by_number(histories_.owner_of_item, ranks());
  for (int rank = 0; rank < ranks(); ++rank) {
    sent_[rank].gathered_list("item_regression.sampled",
                              16 * static_cast<double>(histories_.sampled_of_rank[rank]));
    sent_[rank].reduced("item_regression.lengths", histories_.items());
  }
}

void Planned::hubs() {
  std::vector<double> people(ranks(), 0), numbers(ranks(), 0);
  for (std::int64_t person = 0; person < histories_.people(); ++person) {
    const std::int32_t owner = histories_.owner_of_person[person];
    if (owner < 0) continue;
    const auto met = std::ranges::count_if(histories_.of_person.of(person), [&](std::int32_t item) {
      return hubs_.number_of[item] >= 0;
    });
    ++people[owner];
    numbers[owner] += static_cast<double>(ItemHubs::numbers_of_person(met));
  }
  const std::vector<std::int64_t> cut = ItemHubs::cut_rows(hubs_.met_by, ranks());
  for (int rank = 0; rank < ranks(); ++rank) {
    Sent& sent = sent_[rank];
    if (hubs_.candidates > 0) sent.reduced("item_regression.hubs", hubs_.candidates);
    sent.gathered_list("item_regression.hubs", kNodeBytes * people[rank]);
    sent.gathered_list("item_regression.hubs", sizeof(std::uint16_t) * numbers[rank]);
    const std::int64_t words =
        ItemHubs::first_word(cut[rank + 1]) - ItemHubs::first_word(cut[rank]);
    const double products = std::accumulate(hubs_.products.begin() + cut[rank],
                                            hubs_.products.begin() + cut[rank + 1], 0.0);
    sent.gathered_list("item_regression.hub_products",
                       sizeof(std::uint64_t) * static_cast<double>(words));
    sent.gathered_list("item_regression.hub_products", kFloatBytes * products);
  }
}

/// Each kind of search once, among the items of all domains or of each.
void Planned::searches() {
  const auto& solves = shape_.solves;
  if (std::ranges::any_of(solves, &ItemRegressionSolve::crosses)) search({0, histories_.items()});
  if (std::ranges::all_of(solves, &ItemRegressionSolve::crosses)) return;
  for (int domain = 0; domain < shape_.space.domains(); ++domain) search(items_of(domain));
}

/// Of the nearest by features, among some items.
void Planned::search(Range items) {
  if (columns_ == 0) return;
  std::int64_t eligible = 0;
  std::int64_t asking = 0;
  std::vector<std::int32_t> asked_by(histories_.items(), -1);
  for (std::int64_t item = items.begin; item < items.end; ++item) {
    if (shape_.has_features[item] == 0) continue;
    asked_by[item] = histories_.owner_of_item[item];
    ++asking;
    eligible += histories_.of_item.of(item).empty() ? 0 : 1;
  }
  const bool is_exact = !is_approximate(shape_.search, eligible, asking);
  const double compared = is_exact ? static_cast<double>(eligible) : kComparedByGraphs;
  for (int rank = 0; rank < ranks(); ++rank) {
    const auto asked = static_cast<double>(std::ranges::count(asked_by, rank));
    sent_[rank].costs().matrix_operations(2 * asked * compared * static_cast<double>(columns_));
  }
  if (is_exact) return;
  const std::vector<SearchTraffic> traffic = traffic_of_search(asked_by, kMostByFeatures, ranks());
  for (int rank = 0; rank < ranks(); ++rank) {
    sent_[rank].add("neighbours.sample", 1, traffic[rank].sample);
    sent_[rank].reduced("neighbours.recall", traffic[rank].sampled);
    sent_[rank].add("neighbours.found", 1, traffic[rank].found);
  }
}

void Planned::batches(const ItemRegressionSolve& solve) {
  std::vector<std::vector<std::pair<Range, int>>> of_rank;
  std::size_t most = 0;
  for (int rank = 0; rank < ranks(); ++rank) {
    std::vector<std::int64_t> met_by;
    for (const std::int32_t item : own_items_.of(rank)) {
      met_by.push_back(static_cast<std::int64_t>(histories_.of_item.of(item).size()));
    }
    of_rank.push_back(
        ItemRegressionFit::cut_batches(shape_.space, own_items_.of(rank), met_by, columns_));
    most = std::max(most, of_rank.back().size());
    sent_[rank].reduced("item_regression.batches", 1);
  }
  asked_by_.resize(histories_.people(), 0);
  met_in_.resize(histories_.items(), 0);
  columns_of_all_.resize(4 * shape_.space.domains());
  for (std::vector<double>* const answered :
       {&histories_answered_, &columns_answered_, &features_answered_}) {
    answered->assign(ranks(), 0);
  }
  for (int rank = 0; rank < ranks(); ++rank) {
    of_rank[rank].resize(most, {Range{0, 0}, shape_.space.domains() - 1});
    for (const auto& [places, domain] : of_rank[rank]) {
      std::vector<std::int32_t> items;
      for (std::int64_t n = places.begin; n < places.end; ++n) {
        const std::int32_t item = own_items_.of(rank)[n];
        if (ItemRegressionFit::is_drawn(shape_.seed, item, solve.most_items,
                                        items_of(domain).size())) {
          items.push_back(item);
        }
      }
      batch(rank, items, domain, solve.crosses);
    }
  }
  for (int rank = 0; rank < ranks(); ++rank) {
    sent_[rank].joins("item_regression.histories", histories_answered_[rank]);
    sent_[rank].joins("item_regression.columns", columns_answered_[rank]);
    sent_[rank].joins("item_regression.features", features_answered_[rank]);
  }
}

void Planned::batch(int rank, std::span<const std::int32_t> items, int domain, bool crosses) {
  const auto count = static_cast<std::int64_t>(items.size());
  fetched("item_regression.histories", rank, people_of(rank, items), histories_answered_);
  fetched("item_regression.columns", rank,
          neighbours_of(rank, count, domain, crosses, /*walked_only=*/true), columns_answered_);
  if (columns_ == 0) return;
  const ByOwner rows = neighbours_of(rank, count, domain, crosses, /*walked_only=*/false);
  sent_[rank].lists("batch.plan", kNodeBytes * rows.all_lists());
  sent_[rank].add("item_regression.features", 1, 0);
  for (int owner = 0; owner < ranks(); ++owner) {
    features_answered_[owner] += kFloatBytes * static_cast<double>(columns_) * rows.lists[owner];
  }
}

/// fetch_lists(): a question, the lengths of the lists, and these. `of`: those of other ranks.
void Planned::fetched(const char* name, int rank, const ByOwner& of,
                      std::vector<double>& answered) {
  sent_[rank].lists(name, kNodeBytes * of.all_lists());
  sent_[rank].lists(name, 0);
  sent_[rank].lists(name, 0);
  for (int owner = 0; owner < ranks(); ++owner) {
    answered[owner] += kNodeBytes * (of.lists[owner] + of.values[owner]);
  }
}

/// The histories of other ranks' people who met these items; notes what all of them met.
ByOwner Planned::people_of(int rank, std::span<const std::int32_t> items) {
  ByOwner of(ranks());
  ++batches_;
  met_.clear();
  for (const std::int32_t item : items) {
    for (const std::int32_t person : histories_.of_item.of(item)) {
      if (std::exchange(asked_by_[person], batches_) == batches_) continue;
      const std::span<const std::int32_t> history = histories_.of_person.of(person);
      of.add(histories_.owner_of_person[person], static_cast<std::int64_t>(history.size()));
      for (const std::int32_t met : history) {
        if (std::exchange(met_in_[met], batches_) != batches_) met_.push_back(met);
      }
    }
  }
  of.leave(rank, static_cast<double>(histories_.people()));
  return of;
}

/// The columns of those of these items that may be neighbours in a domain.
ByOwner Planned::columns_of(std::span<const std::int32_t> items, int domain, bool crosses,
                            bool walked_only) const {
  const Range of_domain = items_of(domain);
  ByOwner of(ranks());
  for (const std::int32_t item : items) {
    if (walked_only && !hubs_.is_walked(item)) continue;
    if (!crosses && !of_domain.contains(item)) continue;
    of.add(histories_.owner_of_item[item],
           static_cast<std::int64_t>(histories_.of_item.of(item).size()));
  }
  return of;
}

/// The most that the columns of neighbours can be that other ranks have, for so many items of a
/// domain: of what the batch's people met or, where there are features, of anything; and no more
/// neighbours than an item may have.
ByOwner Planned::neighbours_of(int rank, std::int64_t items, int domain, bool crosses,
                               bool walked_only) {
  const auto most = static_cast<double>(ItemSystems::kMostNeighbours * items);
  if (columns_ == 0) {
    ByOwner of = columns_of(met_, domain, crosses, walked_only);
    of.leave(rank, most);
    return of;
  }
  std::optional<ByOwner>& all =
      columns_of_all_[4 * domain + (crosses ? 2 : 0) + (walked_only ? 1 : 0)];
  if (!all) {
    std::vector<std::int32_t> every(histories_.items());
    std::iota(every.begin(), every.end(), 0);
    all = columns_of(every, domain, crosses, walked_only);
  }
  ByOwner of = *all;
  of.leave(rank, most);
  return of;
}

/// The share of all items that are solved for.
double Planned::share_of(const ItemRegressionSolve& solve) const {
  double solved = 0;
  for (int domain = 0; domain < shape_.space.domains(); ++domain) {
    const std::int64_t size = items_of(domain).size();
    solved += static_cast<double>(solve.most_items == 0 ? size : std::min(size, solve.most_items));
  }
  return solved / static_cast<double>(std::max<std::int64_t>(1, histories_.items()));
}

/// For an item with neighbours drawn as interactions are: the people of those that are no hubs,
/// what is told of the hubs that these met, and the products of each two neighbours.
void Planned::work() {
  double all = 0, met = 0, people = 0;  // interactions; of others than hubs; their people
  for (std::int64_t item = 0; item < histories_.items(); ++item) {
    const auto here = static_cast<double>(histories_.of_item.of(item).size());
    all += here;
    if (hubs_.number_of[item] >= 0) continue;
    met += here;
    people += here * here;
  }
  double told = 0;  // hubs of the people of an interaction with another item
  for (std::int64_t person = 0; person < histories_.people(); ++person) {
    double others = 0, of_person = 0;
    for (const std::int32_t item : histories_.of_person.of(person)) {
      (hubs_.number_of[item] >= 0 ? of_person : others) += 1;
    }
    told += others * of_person;
  }
  constexpr double kNeighbours = ItemSystems::kMostNeighbours;
  constexpr double kPairs = kNeighbours * kNeighbours / 2;
  constexpr double kLineBytes = 64;     // of a cache, that a person or a product is read in
  constexpr double kPersonBytes = 36;   // noted of who met a neighbour
  constexpr double kHubBytes = 10;      // read and noted of a hub that one of them met
  constexpr double kProductBytes = 24;  // of the products of two neighbours until they are solved
  const double visits = all > 0 ? kNeighbours * people / all : 0;
  const double hubs = met > 0 ? visits * told / met : 0;
  const double hub_share = all > 0 ? 1 - met / all : 0;
  double systems = 0, solutions = 0;  // of an item, over all solves
  for (const ItemRegressionSolve& solve : shape_.solves) {
    const double share = share_of(solve);
    systems += share;
    solutions += share * solve.settings;
  }
  for (int rank = 0; rank < ranks(); ++rank) {
    const double items = systems * static_cast<double>(own_items_.of(rank).size());
    StepCosts& costs = sent_[rank].costs();
    costs.matrix_operations(items *
                            (kNeighbours * kNeighbours * kNeighbours / 3 * solutions / systems +
                             2 * kPairs * static_cast<double>(columns_)));
    costs.neighbour_bytes(items * kLineBytes * (visits + kPairs * hub_share * hub_share));
    costs.copied_bytes(items * (kPersonBytes * visits + kHubBytes * hubs + kProductBytes * kPairs));
  }
}

}  // namespace

std::vector<StepCosts> costs_of_item_regression(const ItemRegressionShape& shape) {
  return Planned(shape).costs();
}

}  // namespace micrec
