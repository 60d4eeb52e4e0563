#include "model/item_regression/item_neighbourhood.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>

#include "base/number_hash.h"
#include "base/parallel.h"
#include "model/item_regression/item_systems.h"

namespace micrec {
namespace {

struct Candidate {
  std::int32_t item;
  double score;
};

bool is_before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

/// How often an item was met together with each other, item by item. The sums lie in a table of as
/// many as there are, which fits into a cache however many items there are.
class Together {
 public:
  struct Met {
    std::int32_t item;
    double sum;  // in units
  };

  explicit Together(const TrainingHistories& training) : training_(training) {}

  /// Begins with an item, whose people met at most so many.
  void begin(std::size_t most) {
    most = std::min(most, static_cast<std::size_t>(training_.items()));
    bits_ = static_cast<int>(std::bit_width(most)) + 1;
    slots_.assign(std::size_t{1} << bits_, -1);
    met_.clear();
  }
  void add(std::span<const std::int32_t> history, double squared_weight) {
    for (const std::int32_t item : history) {
      std::int32_t& slot = slots_[slot_of(item)];
      if (slot < 0) {
        __builtin_prefetch(&training_.squared_length()[item]);
        slot = static_cast<std::int32_t>(met_.size());
        met_.push_back({item, 0});
      }
      met_[slot].sum += squared_weight;
    }
  }
  const std::vector<Met>& met() const { return met_; }
  double of(std::int32_t item) const {
    const std::int32_t slot = slots_[slot_of(item)];
    return slot < 0 ? 0 : met_[slot].sum * TrainingHistories::kUnit;
  }

 private:
  /// Where the item is, or is to be.
  std::size_t slot_of(std::int32_t item) const {
    std::size_t at = hash_of_number(item) >> (32 - bits_);
    while (slots_[at] >= 0 && met_[slots_[at]].item != item) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  const TrainingHistories& training_;
  int bits_ = 0;
  std::vector<std::int32_t> slots_;  // where in met_, by a hash of the item, -1: free
  std::vector<Met> met_;
};

ItemNeighbourhood choose(const NeighbourhoodRule& rule, std::int32_t self, const Together& together,
                         const TrainingHistories& training, std::span<const std::int32_t> similar) {
  std::vector<Candidate> candidates;
  candidates.reserve(together.met().size());
  for (const auto& [item, sum] : together.met()) {
    const double cross = rule.items.contains(item) ? 1 : rule.cross;
    if (item == self || cross == 0) continue;
    const double length = training.squared_length()[item] * TrainingHistories::kUnit;
    const double norm = std::sqrt(cross * cross * length + rule.lambda);
    candidates.push_back({item, cross * sum * TrainingHistories::kUnit / norm});
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
  std::size_t most = 0;
  for (const std::int32_t person : people) most += histories.of(place_of[person]).size();
  together.begin(most);
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
    const TrainingHistories& training, const std::vector<std::span<const std::int32_t>>& similar) {
  const auto count = static_cast<std::int64_t>(items.size());
  const std::vector<std::int32_t> place_of = places_in(people_fetched, training.people());
  std::vector<ItemNeighbourhood> chosen(count);
  std::vector<Together> of_worker(compute_threads(), Together(training));
  const std::int64_t chunk = std::clamp<std::int64_t>(count / (8 * compute_threads()), 1, 1024);
  parallel_for_workers(count, chunk,
                       [&](std::int64_t worker, std::int64_t begin, std::int64_t end) {
                         Together& together = of_worker[worker];
                         for (std::int64_t n = begin; n < end; ++n) {
                           add_histories(people[n], place_of, histories, training, together);
                           chosen[n] = choose(rule, items[n], together, training, similar[n]);
                         }
                       });
  return chosen;
}

}  // namespace micrec
