#include "partition/planning/step_needs.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "partition/overlap.h"

namespace micrec {
namespace {

/// Parts met around one node, each once, with two sums for each.
class PartSums {
 public:
  explicit PartSums(int parts) : seen_(parts, -1), first_(parts), second_(parts) {}

  void start(std::int64_t node) {
    node_ = node;
    touched_.clear();
  }
  void add(std::int32_t part, double first, double second) {
    if (seen_[part] != node_) {
      seen_[part] = node_;
      first_[part] = second_[part] = 0;
      touched_.push_back(part);
    }
    first_[part] += first;
    second_[part] += second;
  }
  const std::vector<std::int32_t>& touched() const { return touched_; }
  bool has(std::int32_t part) const { return seen_[part] == node_; }
  double first(std::int32_t part) const { return first_[part]; }
  double second(std::int32_t part) const { return second_[part]; }

 private:
  std::int64_t node_ = -1;
  std::vector<std::int64_t> seen_;
  std::vector<double> first_, second_;
  std::vector<std::int32_t> touched_;
};

/// Probability that a step's draws miss a set of interactions.
class Missing {
 public:
  Missing(const BatchShape& batch, std::int64_t interactions)
      : by_user_(batch.by_user),
        interactions_(static_cast<double>(interactions)),
        draws_(static_cast<double>(batch.by_user ? batch.triples
                                                 : std::min(batch.triples, interactions))) {
    constant_ = std::lgamma(interactions_ - draws_ + 1) - std::lgamma(interactions_ + 1);
    for (std::size_t n = 0; n < table_.size(); ++n) table_[n] = none_of(static_cast<double>(n));
  }

  double draws() const { return draws_; }
  /// `share`: probability that one draw is in the set.
  double probability(double share) const {
    if (by_user_) return std::pow(std::max(0.0, 1 - share), draws_);
    const double count = std::round(share * interactions_);
    return count < static_cast<double>(table_.size()) ? table_[static_cast<std::size_t>(count)]
                                                      : none_of(count);
  }

 private:
  // Of `draws_` different interactions none is among `count`.
  double none_of(double count) const {
    if (interactions_ - count < draws_) return 0;
    return std::exp(std::lgamma(interactions_ - count + 1) -
                    std::lgamma(interactions_ - count - draws_ + 1) + constant_);
  }

  bool by_user_;
  double interactions_;
  double draws_;
  double constant_ = 0;
  std::vector<double> table_ = std::vector<double>(1024);
};

/// Probability that an item is neither the positive nor the negative of any triple. `drawn`: the
/// chance of one draw to be one of its interactions; `negative`: to have it as the negative, which
/// excludes the other.
double item_missing(const Missing& missing, double drawn, double negative) {
  const double by_positive = missing.probability(drawn);
  if (by_positive <= 0 || negative <= 0) return by_positive;
  const double per_draw = std::min(1.0, negative / std::max(1e-12, 1 - drawn));
  return by_positive * std::exp(missing.draws() * std::log1p(-per_draw));
}

std::vector<OverlapCounts> count_overlaps(const NodeSpace& space, const People& people,
                                          const Adjacency& graph, const Ownership& ownership,
                                          const BatchShape& batch,
                                          std::vector<double>& not_chosen) {
  std::vector<OverlapCounts> overlaps;
  if (!batch.has_contrastive) return overlaps;
  for (const OverlapPair& found : find_overlaps(space, people, degrees_of(graph))) {
    OverlapCounts pair{std::ssize(found.first), std::vector<std::int64_t>(ownership.ranks), 0};
    pair.chosen = static_cast<double>(batch.contrastive_batch <= 0
                                          ? pair.people
                                          : std::min(pair.people, batch.contrastive_batch));
    const double left_out = 1 - pair.chosen / static_cast<double>(pair.people);
    for (std::int64_t n = 0; n < pair.people; ++n) {
      ++pair.people_of_part[ownership.owner[value(found.first[n])]];
      not_chosen[value(found.first[n])] *= left_out;
      not_chosen[value(found.second[n])] *= left_out;
    }
    overlaps.push_back(std::move(pair));
  }
  return overlaps;
}

/// What expected needs are counted over.
struct Setting {
  const NodeSpace& space;
  const Adjacency& graph;
  const std::vector<std::uint8_t>& eligible;
  const Ownership& ownership;
  const Missing& missing;

  bool can_be_negative(std::int64_t item) const { return eligible[item - space.users()] != 0; }
  std::int32_t part(std::int64_t node) const { return ownership.owner[node]; }
};

/// Items of one domain that may be negatives.
struct Eligible {
  double all = 0;
  std::vector<std::int64_t> of_part;  // (parts)
};

std::vector<Eligible> count_eligible(const Setting& setting) {
  std::vector<Eligible> counts;
  for (int domain = 0; domain < setting.space.domains(); ++domain) {
    Eligible count{0, std::vector<std::int64_t>(setting.ownership.ranks)};
    const Range items = setting.space.items_of(domain);
    for (std::int64_t item = items.begin; item < items.end; ++item) {
      if (!setting.can_be_negative(item)) continue;
      ++count.all;
      ++count.of_part[setting.part(item)];
    }
    counts.push_back(std::move(count));
  }
  return counts;
}

/// A user's chance to be drawn, and what it gives each item they do not have as the negative.
struct UserChances {
  std::vector<double> drawn;                 // (users)
  std::vector<double> negative;              // (users)
  std::vector<std::vector<double>> of_part;  // (domains, parts) sums of `negative`
  std::vector<double> of_all;                // (domains)
};

UserChances chances_of_users(const Setting& setting, const BatchShape& batch,
                             const std::vector<Eligible>& eligible, std::vector<double>& triples) {
  const NodeSpace& space = setting.space;
  const Adjacency& graph = setting.graph;
  const std::int64_t interactions = graph.nonzeros() / 2;
  std::int64_t active_users = 0;
  for (std::int64_t user = 0; user < space.users(); ++user) active_users += graph.degree(user) > 0;
  const auto users_of_all = static_cast<std::size_t>(space.users());
  UserChances chances{
      std::vector<double>(users_of_all), std::vector<double>(users_of_all),
      std::vector<std::vector<double>>(space.domains(), std::vector<double>(triples.size())),
      std::vector<double>(space.domains())};
  for (int domain = 0; domain < space.domains(); ++domain) {
    const Range users = space.users_of(domain);
    for (std::int64_t user = users.begin; user < users.end; ++user) {
      const auto degree = static_cast<double>(graph.degree(user));
      if (degree == 0) continue;
      const double drawn = batch.by_user ? 1 / static_cast<double>(active_users)
                                         : degree / static_cast<double>(interactions);
      const double others = eligible[domain].all - degree;
      const double negative = others > 0 ? drawn / others : 0;
      chances.drawn[user] = drawn;
      chances.negative[user] = negative;
      chances.of_part[domain][setting.part(user)] += negative;
      chances.of_all[domain] += negative;
      triples[setting.part(user)] += setting.missing.draws() * drawn;
    }
  }
  return chances;
}

/// Items of one domain, by the parts that ask for them. Parts without an interaction of an item ask
/// for it as a negative only, with a chance that depends on the part and the domain alone: those
/// are counted, not visited.
void count_items(const Setting& setting, int domain, const Eligible& eligible,
                 const UserChances& users, PartSums& around, StepNeeds& needs,
                 std::vector<double>& not_wanted) {
  const Adjacency& graph = setting.graph;
  const Missing& missing = setting.missing;
  const int parts = setting.ownership.ranks;
  const std::vector<double>& negative_of = users.of_part[domain];
  std::vector<double> only_negative(parts);
  for (int part = 0; part < parts; ++part) {
    only_negative[part] = 1 - item_missing(missing, 0, negative_of[part]);
  }
  const double only_negative_of_all =
      std::accumulate(only_negative.begin(), only_negative.end(), 0.0);
  std::vector<double> visited(parts);  // eligible items of others that a part has interactions of
  const Range items = setting.space.items_of(domain);
  for (std::int64_t item = items.begin; item < items.end; ++item) {
    const std::int32_t owner = setting.part(item);
    const bool can_be_negative = setting.can_be_negative(item);
    around.start(item);
    double drawn_by_all = 0;
    double excluded_of_all = 0;
    for (const std::int32_t user : graph.of(item)) {
      const double chance = users.drawn[user] / static_cast<double>(graph.degree(user));
      around.add(setting.part(user), chance, users.negative[user]);
      drawn_by_all += chance;
      excluded_of_all += users.negative[user];
    }
    double sent = 0;
    double counted = 0;  // of only_negative_of_all, by parts that are not met there
    for (const std::int32_t part : around.touched()) {
      if (can_be_negative) counted += only_negative[part];
      if (part == owner) continue;
      const double by_negative = can_be_negative ? negative_of[part] - around.second(part) : 0;
      const double asked = 1 - item_missing(missing, around.first(part), by_negative);
      sent += asked;
      needs.items_received[part] += asked;
      if (can_be_negative) ++visited[part];
    }
    if (can_be_negative) {
      if (!around.has(owner)) counted += only_negative[owner];
      sent += std::max(0.0, only_negative_of_all - counted);
    }
    needs.items_sent[owner] += sent;
    not_wanted[item] = item_missing(missing, drawn_by_all,
                                    can_be_negative ? users.of_all[domain] - excluded_of_all : 0);
    needs.requested_items[owner] += 1 - not_wanted[item];
  }
  for (int part = 0; part < parts; ++part) {
    needs.items_received[part] +=
        only_negative[part] *
        (eligible.all - static_cast<double>(eligible.of_part[part]) - visited[part]);
  }
}

/// Rows of the halo, and those of them and of all that somebody wants.
void count_rows(const Setting& setting, const std::vector<double>& not_wanted, PartSums& around,
                StepNeeds& needs) {
  const std::int64_t nodes = setting.space.nodes();
  const Adjacency& graph = setting.graph;
  for (std::int64_t node = 0; node < nodes; ++node) {
    const std::int32_t owner = setting.part(node);
    const double wanted = 1 - not_wanted[node];
    needs.wanted_rows[owner] += wanted;
    needs.wanted_nonzeros[owner] += wanted * static_cast<double>(graph.degree(node));
    around.start(nodes + node);
    for (const std::int32_t neighbour : graph.of(node)) {
      const std::int32_t part = setting.part(neighbour);
      if (part == owner || around.has(part)) continue;
      around.add(part, 0, 0);
      ++needs.halo.sent[owner];
      ++needs.halo.received[part];
      needs.active_sent[owner] += wanted;
      needs.active_received[part] += wanted;
    }
  }
}

}  // namespace

std::int64_t HaloCounts::total() const {
  return std::accumulate(received.begin(), received.end(), std::int64_t{0});
}

HaloCounts count_halo(const Adjacency& readers, const Ownership& ownership) {
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), readers.nodes());
  HaloCounts counts{std::vector<std::int64_t>(ownership.ranks),
                    std::vector<std::int64_t>(ownership.ranks)};
  std::vector<std::int64_t> seen(ownership.ranks, -1);
  for (std::int64_t node = 0; node < readers.nodes(); ++node) {
    const std::int32_t owner = ownership.owner[node];
    seen[owner] = node;
    for (const std::int32_t reader : readers.of(node)) {
      const std::int32_t part = ownership.owner[reader];
      if (seen[part] == node) continue;
      seen[part] = node;
      ++counts.sent[owner];
      ++counts.received[part];
    }
  }
  return counts;
}

SemanticHalo expected_semantic_halo(const NodeSpace& space, const Adjacency& graph,
                                    const std::vector<std::uint8_t>& present,
                                    const Ownership& ownership, int neighbours) {
  CHECK_EQ(static_cast<std::int64_t>(present.size()), space.items());
  const int parts = ownership.ranks;
  std::vector<double> forward_sent(parts), forward_received(parts);
  std::vector<double> backward_sent(parts), backward_received(parts);
  for (int domain = 0; domain < space.domains(); ++domain) {
    std::vector<double> readers(parts), targets(parts);
    const Range items = space.items_of(domain);
    for (std::int64_t item = items.begin; item < items.end; ++item) {
      if (present[item - space.users()] == 0) continue;
      ++readers[ownership.owner[item]];
      if (graph.degree(item) > 0) ++targets[ownership.owner[item]];
    }
    const double all = std::accumulate(targets.begin(), targets.end(), 0.0);
    if (all < 2) continue;
    const double k = std::min<double>(neighbours, all - 1);
    // A target is read by a part unless none of the part's items chose it; a reader's gradient is
    // needed by a part unless none of its choices is there.
    std::vector<double> is_read(parts), has_target(parts);
    for (int part = 0; part < parts; ++part) {
      is_read[part] = 1 - std::pow(1 - k / all, readers[part]);
      has_target[part] = 1 - std::pow(1 - targets[part] / all, k);
    }
    const double read_by_all = std::accumulate(is_read.begin(), is_read.end(), 0.0);
    const double has_of_all = std::accumulate(has_target.begin(), has_target.end(), 0.0);
    const double all_readers = std::accumulate(readers.begin(), readers.end(), 0.0);
    for (int part = 0; part < parts; ++part) {
      forward_sent[part] += targets[part] * (read_by_all - is_read[part]);
      forward_received[part] += is_read[part] * (all - targets[part]);
      backward_sent[part] += readers[part] * (has_of_all - has_target[part]);
      backward_received[part] += has_target[part] * (all_readers - readers[part]);
    }
  }
  const auto rounded = [](const std::vector<double>& rows) {
    std::vector<std::int64_t> whole;
    for (const double count : rows) whole.push_back(std::llround(count));
    return whole;
  };
  return {{rounded(forward_sent), rounded(forward_received)},
          {rounded(backward_sent), rounded(backward_received)}};
}

StepNeeds expected_needs(const NodeSpace& space, const People& people, const Adjacency& graph,
                         const std::vector<std::uint8_t>& eligible, const Ownership& ownership,
                         const BatchShape& batch) {
  CHECK_EQ(graph.nodes(), space.nodes());
  CHECK_EQ(static_cast<std::int64_t>(eligible.size()), space.items());
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), space.nodes());
  const std::int64_t interactions = graph.nonzeros() / 2;
  CHECK_GE(interactions, 1) << "no training interactions";
  const Missing missing(batch, interactions);
  const Setting setting{space, graph, eligible, ownership, missing};
  const int parts = ownership.ranks;
  StepNeeds needs;
  needs.halo = {std::vector<std::int64_t>(parts), std::vector<std::int64_t>(parts)};
  for (std::vector<double>* const of_parts :
       {&needs.triples, &needs.wanted_rows, &needs.wanted_nonzeros, &needs.requested_items,
        &needs.items_sent, &needs.items_received, &needs.active_sent, &needs.active_received}) {
    of_parts->assign(parts, 0);
  }

  const std::vector<Eligible> eligible_of = count_eligible(setting);
  const UserChances users = chances_of_users(setting, batch, eligible_of, needs.triples);
  std::vector<double> not_wanted(static_cast<std::size_t>(space.nodes()), 1);
  needs.overlaps = count_overlaps(space, people, graph, ownership, batch, not_wanted);
  for (std::int64_t user = 0; user < space.users(); ++user) {
    if (graph.degree(user) > 0) not_wanted[user] *= missing.probability(users.drawn[user]);
  }
  PartSums around(parts);
  for (int domain = 0; domain < space.domains(); ++domain) {
    count_items(setting, domain, eligible_of[domain], users, around, needs, not_wanted);
  }
  count_rows(setting, not_wanted, around, needs);
  return needs;
}

}  // namespace micrec
