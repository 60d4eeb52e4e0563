#include "model/item_neighbourhood.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/parallel.h"
#include "model/item_systems.h"

namespace micrec {
namespace {

struct Candidate {
  std::int32_t item;
  double score;
};

bool is_before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

/// How often an item was met together with each other, item by item.
class Together {
 public:
  explicit Together(std::int64_t items) : sum_(items, 0.0) {}

  void add(std::span<const std::int32_t> history, double squared_weight) {
    for (const std::int32_t item : history) {
      if (sum_[item] == 0) met_.push_back(item);
      sum_[item] += squared_weight;
    }
  }
  void clear() {
    for (const std::int32_t item : met_) sum_[item] = 0;
    met_.clear();
  }
  const std::vector<std::int32_t>& met() const { return met_; }
  double of(std::int32_t item) const { return sum_[item] * TrainingHistories::kUnit; }

 private:
  std::vector<double> sum_;  // (items) in units
  std::vector<std::int32_t> met_;
};

ItemNeighbourhood choose(const NeighbourhoodRule& rule, std::int32_t self, const Together& together,
                         const TrainingHistories& training, std::span<const std::int32_t> similar) {
  std::vector<Candidate> candidates;
  for (const std::int32_t item : together.met()) {
    const double cross = rule.items.contains(item) ? 1 : rule.cross;
    if (item == self || cross == 0) continue;
    const double length = training.squared_length()[item] * TrainingHistories::kUnit;
    const double norm = std::sqrt(cross * cross * length + rule.lambda);
    candidates.push_back({item, cross * together.of(item) / norm});
  }
  const std::size_t most = ItemSystems::kMostNeighbours - similar.size();
  if (candidates.size() > most) {
    std::ranges::nth_element(candidates, candidates.begin() + static_cast<std::int64_t>(most),
                             is_before);
    candidates.resize(most);
  }
  ItemNeighbourhood chosen;
  for (const Candidate& candidate : candidates) chosen.items.push_back(candidate.item);
  chosen.items.insert(chosen.items.end(), similar.begin(), similar.end());
  std::ranges::sort(chosen.items);
  chosen.items.erase(std::unique(chosen.items.begin(), chosen.items.end()), chosen.items.end());
  for (const std::int32_t item : chosen.items) {
    chosen.together.push_back(static_cast<float>(together.of(item)));
  }
  return chosen;
}

/// Adds the histories of people; those of some are asked for before the first of them is read, as
/// they are out of the first caches.
void add_histories(std::span<const std::int32_t> people, const std::vector<std::int32_t>& place_of,
                   const NumberLists& histories, const TrainingHistories& training,
                   Together& together) {
  constexpr std::size_t kAhead = 16;
  std::array<std::span<const std::int32_t>, kAhead> ahead;
  for (std::size_t begin = 0; begin < people.size(); begin += kAhead) {
    const auto some = people.subspan(begin, std::min(kAhead, people.size() - begin));
    for (std::size_t n = 0; n < some.size(); ++n) {
      ahead[n] = histories.of(place_of[some[n]]);
      __builtin_prefetch(ahead[n].data());
    }
    for (std::size_t n = 0; n < some.size(); ++n) {
      together.add(ahead[n], training.squared_weight()[some[n]]);
    }
  }
}

}  // namespace

std::vector<ItemNeighbourhood> choose_neighbourhoods(
    const NeighbourhoodRule& rule, std::span<const std::int32_t> items,
    const std::vector<std::span<const std::int32_t>>& people,
    std::span<const std::int32_t> people_fetched, const NumberLists& histories,
    const TrainingHistories& training, const std::vector<std::span<const std::int32_t>>& similar,
    int threads) {
  const auto count = static_cast<std::int64_t>(items.size());
  std::vector<std::int32_t> place_of(training.people(), -1);
  for (std::size_t n = 0; n < people_fetched.size(); ++n) {
    place_of[people_fetched[n]] = static_cast<std::int32_t>(n);
  }
  std::vector<ItemNeighbourhood> chosen(count);
  std::vector<Together> of_worker(threads, Together(training.items()));
  const std::int64_t chunk = std::clamp<std::int64_t>(count / (8 * threads), 1, 1024);
  parallel_for_workers(count, chunk, threads,
                       [&](std::int64_t worker, std::int64_t begin, std::int64_t end) {
                         Together& together = of_worker[worker];
                         for (std::int64_t n = begin; n < end; ++n) {
                           add_histories(people[n], place_of, histories, training, together);
                           chosen[n] = choose(rule, items[n], together, training, similar[n]);
                           together.clear();
                         }
                       });
  return chosen;
}

}  // namespace micrec
