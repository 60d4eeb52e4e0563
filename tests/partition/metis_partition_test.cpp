#include "partition/metis_partition.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "partition/planning/step_needs.h"
#include "tests/partition/random_world.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

std::vector<std::int64_t> rows_of_parts(const Ownership& ownership) {
  std::vector<std::int64_t> rows(ownership.ranks);
  for (const std::int32_t owner : ownership.owner) ++rows[owner];
  return rows;
}

std::vector<std::int64_t> nonzeros_of_parts(const Ownership& ownership, const Adjacency& graph) {
  std::vector<std::int64_t> nonzeros(ownership.ranks);
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    nonzeros[ownership.owner[node]] += graph.degree(node);
  }
  return nonzeros;
}

double heaviest_over_mean(const std::vector<std::int64_t>& loads) {
  const auto sum = std::accumulate(loads.begin(), loads.end(), std::int64_t{0});
  return static_cast<double>(*std::max_element(loads.begin(), loads.end())) *
         static_cast<double>(loads.size()) / static_cast<double>(sum);
}

TEST(MetisPartition, FindsTastesThatAHashDoesNot) {
  const RandomWorld world = make_random_world(
      {.domains = 2, .users = 600, .items = 400, .interactions = 6000, .tastes = 8});
  for (const int parts : {2, 4, 8}) {
    const auto by_metis =
        count_halo(world.graph, assign_by_metis(world.space, world.people, world.graph, parts));
    const auto by_hash = count_halo(world.graph, assign_by_hash(world.space, world.people, parts));
    EXPECT_LT(2 * by_metis.total(), by_hash.total()) << parts << " parts";
  }
}

TEST(MetisPartition, KeepsPeopleTogether) {
  const RandomWorld world = make_random_world(
      {.domains = 3, .users = 300, .items = 200, .interactions = 3000, .tastes = 4});
  for (const int parts : {1, 2, 3, 5, 8}) {
    const Ownership ownership = assign_by_metis(world.space, world.people, world.graph, parts);
    ASSERT_EQ(ownership.ranks, parts);
    std::vector<std::int32_t> part_of(static_cast<std::size_t>(world.people.count), -1);
    for (std::int64_t user = 0; user < world.space.users(); ++user) {
      std::int32_t& part = part_of[world.people.person[user]];
      if (part < 0) part = ownership.owner[user];
      EXPECT_EQ(ownership.owner[user], part);
    }
  }
}

TEST(MetisPartition, BalancesNonzerosAndRows) {
  // Skewed degrees, and users without any interaction.
  const RandomWorld world = make_random_world({.domains = 1,
                                               .users = 3000,
                                               .items = 1500,
                                               .interactions = 20000,
                                               .tastes = 5,
                                               .skew = 2.5});
  for (const int parts : {2, 3, 7, 16}) {
    const Ownership ownership = assign_by_metis(world.space, world.people, world.graph, parts);
    EXPECT_LE(heaviest_over_mean(rows_of_parts(ownership)), 1.11) << parts << " parts";
    EXPECT_LE(heaviest_over_mean(nonzeros_of_parts(ownership, world.graph)), 1.06)
        << parts << " parts";
  }
}

TEST(MetisPartition, IsTheSameEveryTime) {
  const RandomWorld world = make_random_world(
      {.domains = 2, .users = 400, .items = 300, .interactions = 4000, .tastes = 6});
  const Ownership first = assign_by_metis(world.space, world.people, world.graph, 6);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_EQ(assign_by_metis(world.space, world.people, world.graph, 6).owner, first.owner);
  }
}

volatile std::sig_atomic_t wishes = 0;

// METIS takes a SIGTERM for an error of its own, and dies of some. Whenever one comes, to this
// process or to all of the job, it reaches who waits for it, once, and the parts are the same.
TEST(MetisPartition, ASignalNeitherChangesItNorIsLost) {
  const RandomWorld world = make_random_world(
      {.domains = 1, .users = 3000, .items = 1000, .interactions = 60000, .tastes = 4});
  const auto assign = [&] {
    return assign_by_metis(world.space, world.people, world.graph, 4).owner;
  };
  const std::vector<std::int32_t> expected = assign();
  std::signal(SIGTERM, [](int) { wishes = wishes + 1; });
  for (int milliseconds = 1; milliseconds < 100; milliseconds += 7) {
    for (const bool is_to_all : {false, true}) {
      wishes = 0;
      std::jthread asking([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
        const std::string own = std::to_string(getpid());
        std::ifstream children("/proc/" + own + "/task/" + own + "/children");
        for (pid_t child = 0; is_to_all && children >> child;) kill(child, SIGTERM);
        kill(getpid(), SIGTERM);
      });
      const std::vector<std::int32_t> assigned = assign();
      asking.join();
      while (wishes == 0) std::this_thread::yield();
      EXPECT_EQ(assigned, expected) << milliseconds;
      EXPECT_EQ(wishes, 1) << milliseconds;
    }
  }
  std::signal(SIGTERM, SIG_DFL);
}

TEST(MetisPartition, IsBalancedWhereThereIsNothingToFind) {
  const RandomWorld world =
      make_random_world({.domains = 1, .users = 20, .items = 20, .interactions = 60, .tastes = 1});
  for (const int parts : {1, 8, 64, 1000}) {
    EXPECT_EQ(assign_by_metis(world.space, world.people, world.graph, parts).owner,
              assign_balanced(world.space, world.people, world.degree, parts).owner)
        << parts << " parts";
  }
}

TEST(MetisPartition, TakesAGraphWithoutInteractions) {
  const NodeSpace space({50}, {50});
  People people{50, {}};
  for (std::int32_t user = 0; user < 50; ++user) people.person.push_back(user);
  const Ownership ownership =
      assign_by_metis(space, people, symmetric_graph(space.nodes(), [](const auto&) {}), 4);
  EXPECT_LE(heaviest_over_mean(rows_of_parts(ownership)), 1.1);
}

TEST(MetisPartition, RefusesWhatTheLibraryCannotNumber) {
  // Only the offsets are looked at before the refusal.
  const NodeSpace space({100}, {100});
  People people{100, {}};
  for (std::int32_t user = 0; user < 100; ++user) people.person.push_back(user);
  Adjacency graph;
  graph.offsets.assign(201, 0);
  graph.offsets.back() = std::int64_t{std::numeric_limits<std::int32_t>::max()} + 2;
  expect_error(Cause::usage, {"2,147,483,647", "2,147,483,649", "--partition=file:"},
               [&] { assign_by_metis(space, people, graph, 2); });
}

}  // namespace
}  // namespace micrec
