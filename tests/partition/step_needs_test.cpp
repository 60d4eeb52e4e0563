#include "partition/planning/step_needs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "partition/halo_plan.h"
#include "tests/partition/random_world.h"

namespace micrec {
namespace {

std::vector<GlobalNode> columns_of(const Adjacency& graph, const Ownership& ownership, int part) {
  std::vector<GlobalNode> columns;
  for (const GlobalNode node : ownership.nodes_of(part)) {
    for (const std::int32_t column : graph.of(value(node))) columns.push_back(GlobalNode(column));
  }
  return columns;
}

TEST(StepNeeds, CountsTheHaloThatEachPartPlans) {
  const RandomWorld world = make_random_world({.domains = 2, .skew = 2});
  for (const int parts : {1, 2, 3, 5, 8, 300}) {
    const Ownership ownership = assign_by_hash(world.space, world.people, parts);
    const HaloCounts counts = count_halo(world.graph, ownership);
    std::vector<std::int64_t> sent(parts);
    for (int part = 0; part < parts; ++part) {
      const HaloPlan plan =
          plan_receives(ownership, part, columns_of(world.graph, ownership, part));
      EXPECT_EQ(counts.received[part], plan.halo_rows()) << part << " of " << parts;
      for (int from = 0; from < parts; ++from) sent[from] += plan.receive_rows[from];
    }
    EXPECT_EQ(counts.sent, sent);
  }
}

TEST(StepNeeds, CountsTheHaloOfADirectedOperatorBothWays) {
  // Node 0 reads 1 and 2, node 3 reads 1; parts are the halves.
  Adjacency rows;
  rows.offsets = {0, 2, 2, 2, 3};
  rows.values = {1, 2, 1};
  const Ownership ownership{2, {0, 0, 1, 1}};
  const HaloCounts forward = count_halo(transposed(rows), ownership);
  EXPECT_EQ(forward.received, (std::vector<std::int64_t>{1, 1}));  // node 2; node 1
  EXPECT_EQ(forward.sent, (std::vector<std::int64_t>{1, 1}));
  const HaloCounts backward = count_halo(rows, ownership);
  EXPECT_EQ(backward.received, (std::vector<std::int64_t>{1, 1}));  // of 3 for 1; of 0 for 2
}

/// Averages over drawn batches, in plain loops.
struct Drawn {
  std::vector<double> triples, wanted_rows, wanted_nonzeros, requested, sent, received, active_sent,
      active_received;
};

Drawn draw(const RandomWorld& world, const Ownership& ownership, const BatchShape& batch,
           int repeats) {
  const int parts = ownership.ranks;
  Drawn drawn;
  for (auto* sums : {&drawn.triples, &drawn.wanted_rows, &drawn.wanted_nonzeros, &drawn.requested,
                     &drawn.sent, &drawn.received, &drawn.active_sent, &drawn.active_received}) {
    sums->assign(parts, 0);
  }
  std::mt19937 random(5);
  std::vector<std::pair<std::int32_t, std::int32_t>> edges;
  std::vector<std::int32_t> users;
  for (std::int32_t user = 0; user < world.space.users(); ++user) {
    if (world.degree[user] > 0) users.push_back(user);
    for (const std::int32_t item : world.graph.of(user)) edges.emplace_back(user, item);
  }
  const auto index = [&](std::size_t size) {
    return std::uniform_int_distribution<std::size_t>(0, size - 1)(random);
  };
  std::vector<std::int32_t> members[2];
  for (std::int32_t user = 0; user < world.space.users(); ++user) {
    for (std::int32_t other = user + 1; other < world.space.users(); ++other) {
      if (world.people.person[user] == world.people.person[other] && world.degree[user] > 0 &&
          world.degree[other] > 0) {
        members[0].push_back(user);
        members[1].push_back(other);
      }
    }
  }
  for (int repeat = 0; repeat < repeats; ++repeat) {
    std::set<std::int32_t> wanted;
    std::vector<std::set<std::int32_t>> asked(parts);
    std::shuffle(edges.begin(), edges.end(), random);
    for (std::int64_t t = 0; t < batch.triples; ++t) {
      auto [user, positive] = edges[static_cast<std::size_t>(t) % edges.size()];
      if (batch.by_user) {
        user = users[index(users.size())];
        positive = world.graph.of(user)[index(world.degree[user])];
      }
      const Range items = world.space.items_of(world.space.domain_of(GlobalNode(user)));
      const std::span<const std::int32_t> own = world.graph.of(user);
      std::int32_t negative = 0;
      do {
        negative =
            static_cast<std::int32_t>(items.begin + static_cast<std::int64_t>(index(items.size())));
      } while (std::ranges::find(own, negative) != own.end() ||
               world.eligible[negative - world.space.users()] == 0);
      const std::int32_t part = ownership.owner[user];
      ++drawn.triples[part];
      wanted.insert({user, positive, negative});
      asked[part].insert({positive, negative});
    }
    if (batch.has_contrastive && !members[0].empty()) {
      std::vector<std::size_t> order(members[0].size());
      for (std::size_t p = 0; p < order.size(); ++p) order[p] = p;
      std::shuffle(order.begin(), order.end(), random);
      const auto chosen = batch.contrastive_batch > 0
                              ? std::min<std::size_t>(order.size(), batch.contrastive_batch)
                              : order.size();
      for (std::size_t p = 0; p < chosen; ++p) {
        wanted.insert({members[0][order[p]], members[1][order[p]]});
      }
    }
    std::set<std::int32_t> requested;
    for (int part = 0; part < parts; ++part) {
      for (const std::int32_t item : asked[part]) {
        requested.insert(item);
        if (ownership.owner[item] == part) continue;
        ++drawn.received[part];
        ++drawn.sent[ownership.owner[item]];
      }
    }
    for (const std::int32_t item : requested) ++drawn.requested[ownership.owner[item]];
    for (const std::int32_t node : wanted) {
      const std::int32_t owner = ownership.owner[node];
      ++drawn.wanted_rows[owner];
      drawn.wanted_nonzeros[owner] += world.degree[node];
      std::set<std::int32_t> readers;
      for (const std::int32_t neighbour : world.graph.of(node)) {
        readers.insert(ownership.owner[neighbour]);
      }
      readers.erase(owner);
      for (const std::int32_t part : readers) {
        ++drawn.active_sent[owner];
        ++drawn.active_received[part];
      }
    }
  }
  for (auto* sums : {&drawn.triples, &drawn.wanted_rows, &drawn.wanted_nonzeros, &drawn.requested,
                     &drawn.sent, &drawn.received, &drawn.active_sent, &drawn.active_received}) {
    for (double& sum : *sums) sum /= repeats;
  }
  return drawn;
}

void expect_near(const std::vector<double>& expected, const std::vector<double>& drawn,
                 const char* what) {
  ASSERT_EQ(expected.size(), drawn.size());
  for (std::size_t part = 0; part < drawn.size(); ++part) {
    EXPECT_NEAR(expected[part], drawn[part], 0.015 * drawn[part] + 0.2)
        << what << " of part " << part << " of " << drawn.size();
  }
}

void expect_as_drawn(const RandomWorld& world, const Ownership& ownership,
                     const BatchShape& batch) {
  const StepNeeds needs =
      expected_needs(world.space, world.people, world.graph, world.eligible, ownership, batch);
  const Drawn drawn = draw(world, ownership, batch, 800);
  expect_near(needs.triples, drawn.triples, "triples");
  expect_near(needs.wanted_rows, drawn.wanted_rows, "wanted rows");
  expect_near(needs.wanted_nonzeros, drawn.wanted_nonzeros, "wanted nonzeros");
  expect_near(needs.requested_items, drawn.requested, "requested items");
  expect_near(needs.items_sent, drawn.sent, "items sent");
  expect_near(needs.items_received, drawn.received, "items received");
  expect_near(needs.active_sent, drawn.active_sent, "active rows sent");
  expect_near(needs.active_received, drawn.active_received, "active rows received");
}

TEST(StepNeeds, AreWhatBatchesOfInteractionsNeedOnAverage) {
  RandomWorld world = make_random_world({.domains = 2, .tastes = 3, .skew = 2});
  // Items without interactions, two of which may not be negatives either.
  for (std::size_t item = 0, left = 2; item < world.eligible.size() && left > 0; ++item) {
    if (world.degree[world.space.users() + static_cast<std::int64_t>(item)] > 0) continue;
    world.eligible[item] = 0;
    --left;
  }
  for (const int parts : {1, 8}) {
    const Ownership ownership = assign_by_hash(world.space, world.people, parts);
    expect_as_drawn(world, ownership, {.triples = 96});
    expect_as_drawn(world, ownership,
                    {.triples = 48, .has_contrastive = true, .contrastive_batch = 20});
  }
}

TEST(StepNeeds, AreWhatBatchesOfUsersNeedOnAverage) {
  const RandomWorld world = make_random_world({.domains = 1, .skew = 2});
  const Ownership ownership = assign_balanced(world.space, world.people, world.degree, 4);
  expect_as_drawn(world, ownership, {.triples = 64, .by_user = true});
}

TEST(StepNeeds, ABatchOfEverythingWantsAllThatWasTrainedOn) {
  const RandomWorld world = make_random_world({.domains = 1});
  const Ownership ownership = assign_by_hash(world.space, world.people, 3);
  const StepNeeds needs = expected_needs(world.space, world.people, world.graph, world.eligible,
                                         ownership, {.triples = 100'000});
  double triples = 0;
  for (const double count : needs.triples) triples += count;
  EXPECT_NEAR(triples, static_cast<double>(world.graph.nonzeros()) / 2, 1e-6);
  for (int part = 0; part < 3; ++part) {
    EXPECT_NEAR(needs.active_sent[part], static_cast<double>(needs.halo.sent[part]), 1e-6);
  }
}

TEST(StepNeeds, CountsThePeopleOfEveryPair) {
  const RandomWorld world = make_random_world({.domains = 3});
  const Ownership ownership = assign_by_hash(world.space, world.people, 4);
  const StepNeeds needs =
      expected_needs(world.space, world.people, world.graph, world.eligible, ownership,
                     {.triples = 10, .has_contrastive = true, .contrastive_batch = 16});
  ASSERT_EQ(needs.overlaps.size(), 3U);
  for (const OverlapCounts& pair : needs.overlaps) {
    EXPECT_EQ(pair.chosen, 16);
    std::int64_t people = 0;
    for (const std::int64_t of_part : pair.people_of_part) people += of_part;
    EXPECT_EQ(people, pair.people);
    EXPECT_GT(pair.people, 16);
  }
}

}  // namespace
}  // namespace micrec
