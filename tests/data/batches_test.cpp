#include "data/batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "data/dataset_writer.h"
#include "tests/data/worlds.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

/// Two domains of random interactions in memory.
struct World {
  NodeSpace space{{40, 30}, {25, 35}};
  std::vector<Interactions> training{2};
  std::vector<std::pair<GlobalNode, GlobalNode>> edges;  // by edge number
  std::vector<std::uint8_t> eligible = std::vector<std::uint8_t>(60, 1);

  explicit World(int tries = 300) {
    const Random random(9, Purpose::synthetic);
    for (int d = 0; d < 2; ++d) {
      std::set<std::pair<int, int>> pairs;
      for (int i = 0; i < tries; ++i) {
        // Users with 1 of 4 numbers have no interaction.
        const auto user = static_cast<int>(random.index(space.users_of(d).size(), i, 2 * d));
        const auto item = static_cast<int>(random.index(space.items_of(d).size(), i, 2 * d + 1));
        if (user % 4 != 1) pairs.emplace(user, item);
      }
      for (const auto& [user, item] : pairs) {
        training[d].user.push_back(user);
        training[d].item.push_back(item);
        edges.emplace_back(space.user(d, user), space.item(d, item));
      }
    }
    eligible[3] = eligible[4] = eligible[40] = 0;
  }

  Ownership owned_by(int ranks) const {
    Ownership ownership;
    ownership.ranks = ranks;
    // The last rank owns nothing where there are more than two.
    const int used = ranks > 2 ? ranks - 1 : ranks;
    for (std::int64_t node = 0; node < space.nodes(); ++node) {
      ownership.owner.push_back(static_cast<std::int32_t>((node * 7 / 3) % used));
    }
    return ownership;
  }

  TrainingShare share(int ranks, int rank) const {
    TrainingShare share;
    for (int d = 0; d < 2; ++d) {
      append_interactions(space, owned_by(ranks), rank, d, training[d], share);
    }
    return share;
  }

  EpochSampler sampler(int ranks, int rank, SamplingConfig config = {}) const {
    return EpochSampler(space, share(ranks, rank), eligible, config);
  }

  bool is_edge(GlobalNode user, GlobalNode item) const {
    return std::find(edges.begin(), edges.end(), std::pair(user, item)) != edges.end();
  }
};

using Triple = std::tuple<std::int64_t, GlobalNode, GlobalNode, GlobalNode, int, float>;

/// The triples of all ranks by position.
std::vector<Triple> union_of_ranks(const World& world, int ranks, const SamplingConfig& config,
                                   std::int64_t epoch, std::int64_t step) {
  std::vector<Triple> triples;
  const Ownership ownership = world.owned_by(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    EpochSampler sampler = world.sampler(ranks, rank, config);
    const TripleBatch batch = sampler.batch(epoch, step);
    EXPECT_TRUE(std::is_sorted(batch.position.begin(), batch.position.end()));
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(ownership.owner[value(batch.user[i])], rank);
      triples.emplace_back(batch.position[i], batch.user[i], batch.positive[i], batch.negative[i],
                           batch.domain[i], batch.weight[i]);
    }
  }
  std::sort(triples.begin(), triples.end());
  return triples;
}

TEST(TrainingShare, NumbersEdgesAndActiveUsersAlikeOnAllRanks) {
  const World world;
  std::set<GlobalNode> active;
  for (const auto& [user, item] : world.edges) active.insert(user);
  const std::vector<GlobalNode> active_users(active.begin(), active.end());
  for (const int ranks : {1, 2, 3, 5}) {
    std::int64_t edges = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const TrainingShare share = world.share(ranks, rank);
      EXPECT_EQ(share.all_edges, std::ssize(world.edges));
      EXPECT_EQ(share.all_users, std::ssize(active_users));
      for (std::size_t i = 0; i < share.edge.size(); ++i) {
        EXPECT_EQ(world.edges[share.edge[i]], std::pair(share.user[i], share.item[i]));
      }
      std::vector<GlobalNode> own = share.user;
      own.erase(std::unique(own.begin(), own.end()), own.end());
      ASSERT_EQ(own.size(), share.active.size());
      for (std::size_t u = 0; u < own.size(); ++u) {
        EXPECT_EQ(active_users[share.active[u]], own[u]);
      }
      edges += std::ssize(share.edge);
    }
    EXPECT_EQ(edges, std::ssize(world.edges));
  }
}

TEST(TrainingShare, IsTheSameInPieces) {
  const World world;
  const Ownership ownership = world.owned_by(2);
  const TrainingShare whole = world.share(2, 1);
  TrainingShare pieces;
  for (int d = 0; d < 2; ++d) {
    const Interactions& all = world.training[d];
    for (std::size_t i = 0; i < all.user.size(); i += 3) {
      Interactions part;
      for (std::size_t j = i; j < std::min(i + 3, all.user.size()); ++j) {
        part.user.push_back(all.user[j]);
        part.item.push_back(all.item[j]);
      }
      append_interactions(world.space, ownership, 1, d, part, pieces);
    }
  }
  EXPECT_EQ(pieces.user, whole.user);
  EXPECT_EQ(pieces.item, whole.item);
  EXPECT_EQ(pieces.edge, whole.edge);
  EXPECT_EQ(pieces.active, whole.active);
  EXPECT_EQ(pieces.all_users, whole.all_users);
}

TEST(EpochSampler, GivesEveryInteractionOnceAnEpochInANewOrder) {
  const World world;
  for (const std::int64_t batch_size : {1, 7, 64, 100'000}) {
    SamplingConfig config;
    config.batch_size = batch_size;
    EpochSampler sampler = world.sampler(1, 0, config);
    std::vector<std::pair<GlobalNode, GlobalNode>> orders[2];
    for (int epoch = 0; epoch < 2; ++epoch) {
      std::int64_t position = 0;
      for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
        const TripleBatch batch = sampler.batch(epoch, step);
        EXPECT_EQ(batch.size(), sampler.global_batch_rows(step));
        for (std::int64_t i = 0; i < batch.size(); ++i) {
          EXPECT_EQ(batch.position[i], position++);
          orders[epoch].emplace_back(batch.user[i], batch.positive[i]);
        }
      }
    }
    EXPECT_NE(orders[0], orders[1]);
    for (auto& order : orders) {
      std::sort(order.begin(), order.end());
      auto edges = world.edges;
      std::sort(edges.begin(), edges.end());
      EXPECT_EQ(order, edges);
    }
  }
}

TEST(EpochSampler, DependsOnNoRankCountThreadsOrHistory) {
  const World world;
  for (const Sampling sampling : {Sampling::interactions, Sampling::users}) {
    SamplingConfig config;
    config.sampling = sampling;
    config.batch_size = 50;
    config.seed = 4;
    EpochSampler alone = world.sampler(1, 0, config);
    for (const std::int64_t epoch : {3, 0}) {  // not in order
      for (const std::int64_t step : {alone.steps_per_epoch() - 1, std::int64_t{0}}) {
        const std::vector<Triple> reference = union_of_ranks(world, 1, config, epoch, step);
        EXPECT_EQ(std::ssize(reference), alone.global_batch_rows(step));
        EXPECT_EQ(alone.batch(epoch, step).size(), std::ssize(reference));
        EXPECT_EQ(on_threads(3, [&] { return union_of_ranks(world, 1, config, epoch, step); }),
                  reference);
        for (const int ranks : {2, 3, 5}) {
          EXPECT_EQ(union_of_ranks(world, ranks, config, epoch, step), reference) << ranks;
        }
      }
    }
    SamplingConfig other = config;
    other.seed = 5;
    EXPECT_NE(union_of_ranks(world, 1, other, 0, 0), union_of_ranks(world, 1, config, 0, 0));
  }
}

TEST(EpochSampler, NegativesAreOfTheDomainAndEligibleAndNotTheUsers) {
  const World world;
  for (const Sampling sampling : {Sampling::interactions, Sampling::users}) {
    SamplingConfig config;
    config.sampling = sampling;
    config.batch_size = 37;
    EpochSampler sampler = world.sampler(1, 0, config);
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
      const TripleBatch batch = sampler.batch(1, step);
      for (std::int64_t i = 0; i < batch.size(); ++i) {
        const int domain = batch.domain[i];
        EXPECT_EQ(world.space.domain_of(batch.user[i]), domain);
        EXPECT_TRUE(world.is_edge(batch.user[i], batch.positive[i]));
        EXPECT_FALSE(world.is_edge(batch.user[i], batch.negative[i]));
        EXPECT_TRUE(world.space.items_of(domain).contains(value(batch.negative[i])));
        EXPECT_EQ(world.eligible[value(batch.negative[i]) - world.space.users()], 1);
        EXPECT_EQ(batch.weight[i], 1);
      }
    }
  }
}

TEST(EpochSampler, NegativesAreUniform) {
  const World world;
  SamplingConfig config;
  config.batch_size = 1000;
  EpochSampler sampler = world.sampler(1, 0, config);
  const GlobalNode user = world.edges[0].first;
  std::map<GlobalNode, int> drawn;
  int draws = 0;
  for (int epoch = 0; epoch < 3000; ++epoch) {
    const TripleBatch batch = sampler.batch(epoch, 0);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      if (batch.user[i] != user) continue;
      ++drawn[batch.negative[i]];
      ++draws;
    }
  }
  int allowed = 0;
  const Range items = world.space.items_of(0);
  for (std::int64_t item = items.begin; item < items.end; ++item) {
    const GlobalNode node{static_cast<std::int32_t>(item)};
    allowed +=
        world.eligible[item - world.space.users()] != 0 && !world.is_edge(user, node) ? 1 : 0;
  }
  ASSERT_EQ(std::ssize(drawn), allowed);
  double chi_square = 0;
  const double expected = static_cast<double>(draws) / allowed;
  for (const auto& [item, count] : drawn) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  const double freedom = allowed - 1;
  EXPECT_LT(chi_square, freedom + 4 * std::sqrt(2 * freedom));
}

TEST(EpochSampler, AUserOfAlmostEverythingStillGetsWhatIsLeftAndOneOfEverythingNothing) {
  const NodeSpace space({2}, {200});
  TrainingShare share;
  Ownership ownership{1, std::vector<std::int32_t>(202, 0)};
  Interactions training;
  for (int item = 0; item < 200; ++item) {
    if (item == 77) continue;  // what user 0 lacks
    training.user.push_back(0);
    training.item.push_back(item);
  }
  for (int item = 0; item < 200; ++item) {
    training.user.push_back(1);
    training.item.push_back(item);
  }
  append_interactions(space, ownership, 0, 0, training, share);
  SamplingConfig config;
  config.batch_size = 399;
  EpochSampler sampler(space, share, std::vector<std::uint8_t>(200, 1), config);
  const TripleBatch batch = sampler.batch(0, 0);
  ASSERT_EQ(batch.size(), 399);
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    if (batch.user[i] == space.user(0, 0)) {
      EXPECT_EQ(batch.negative[i], space.item(0, 77));
      EXPECT_EQ(batch.weight[i], 1);
    } else {
      EXPECT_EQ(batch.negative[i], batch.positive[i]);
      EXPECT_EQ(batch.weight[i], 0);
    }
  }
}

TEST(EpochSampler, SamplesUsersUniformlyWhateverTheirHistory) {
  const World world;
  SamplingConfig config;
  config.sampling = Sampling::users;
  config.batch_size = 500;
  EpochSampler sampler = world.sampler(1, 0, config);
  std::map<GlobalNode, int> users;
  std::map<std::pair<GlobalNode, GlobalNode>, int> pairs;
  std::int64_t draws = 0;
  for (int epoch = 0; epoch < 200; ++epoch) {
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
      const TripleBatch batch = sampler.batch(epoch, step);
      for (std::int64_t i = 0; i < batch.size(); ++i) {
        ++users[batch.user[i]];
        ++pairs[{batch.user[i], batch.positive[i]}];
        ++draws;
      }
    }
  }
  EXPECT_EQ(std::ssize(users), world.share(1, 0).all_users);
  EXPECT_EQ(pairs.size(), world.edges.size());
  double chi_square = 0;
  const double expected = static_cast<double>(draws) / static_cast<double>(users.size());
  for (const auto& [user, count] : users) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  const double freedom = static_cast<double>(users.size()) - 1;
  EXPECT_LT(chi_square, freedom + 4 * std::sqrt(2 * freedom));
}

TEST(EpochSampler, ABatchMayBeLargerThanAllThereIs) {
  const World world;
  SamplingConfig config;
  config.batch_size = std::numeric_limits<std::int64_t>::max();
  EpochSampler sampler = world.sampler(1, 0, config);
  EXPECT_EQ(sampler.steps_per_epoch(), 1);
  EXPECT_EQ(sampler.batch(0, 0).size(), sampler.global_batch_rows(0));
}

TEST(EpochSampler, ARankWithoutInteractionsGetsEmptyBatches) {
  const World world;
  for (const Sampling sampling : {Sampling::interactions, Sampling::users}) {
    SamplingConfig config;
    config.sampling = sampling;
    EpochSampler sampler = world.sampler(3, 2, config);
    EXPECT_EQ(sampler.steps_per_epoch(), 1);
    EXPECT_EQ(sampler.batch(0, 0).size(), 0);
  }
}

TEST(Batches, ReadTheirShareFromADatasetFile) {
  const TemporaryFolder folder;
  PreparationOptions options;
  options.hold_out = parse_hold_out("users:0.2,items:0.2,cold_items:0.1");
  const PreparedDataset dataset = prepare_quietly(random_world(), options);
  write_dataset(dataset, folder / "d.h5");
  const DatasetFile file = DatasetFile::open(folder / "d.h5");
  const NodeSpace space({file.domains()[0].users, file.domains()[1].users},
                        {file.domains()[0].items, file.domains()[1].items});
  const std::vector<std::uint8_t> eligible = eligible_items(file, space);
  for (int d = 0; d < 2; ++d) {
    for (std::int64_t item = 0; item < file.domains()[d].items; ++item) {
      const bool held =
          dataset.domains[d].new_items[item] != 0 || dataset.domains[d].cold_items[item] != 0;
      EXPECT_EQ(eligible[value(space.item(d, item)) - space.users()], held ? 0 : 1);
    }
  }
  std::int64_t edges = 0;
  for (int rank = 0; rank < 3; ++rank) {
    Ownership ownership{3, {}};
    for (std::int64_t node = 0; node < space.nodes(); ++node) {
      ownership.owner.push_back(static_cast<std::int32_t>(node % 3));
    }
    const TrainingShare share = read_training_share(file, space, ownership, rank);
    edges += std::ssize(share.edge);
    EXPECT_EQ(share.all_edges, dataset.domains[0].interactions(Split::train) +
                                   dataset.domains[1].interactions(Split::train));
    EpochSampler sampler(space, share, eligible, {});
    for (const GlobalNode negative : sampler.batch(0, 0).negative) {
      EXPECT_EQ(eligible[value(negative) - space.users()], 1);
    }
  }
  EXPECT_EQ(edges, dataset.domains[0].interactions(Split::train) +
                       dataset.domains[1].interactions(Split::train));
}

}  // namespace
}  // namespace micrec
