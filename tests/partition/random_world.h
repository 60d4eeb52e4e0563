#pragma once

#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "partition/adjacency.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

struct RandomWorldOptions {
  int domains = 1;
  std::int64_t users = 100;  // of each domain
  std::int64_t items = 80;
  std::int64_t interactions = 800;
  int tastes = 1;       // groups of users and items; one interaction in ten leaves its group
  double skew = 1;      // above 1: some nodes have many more interactions than others
  double shared = 0.5;  // of a domain's users are people of the first domain too
  std::uint64_t seed = 1;
};

struct RandomWorld {
  NodeSpace space;
  People people;
  Adjacency graph;
  std::vector<std::int32_t> degree;
  std::vector<std::uint8_t> eligible;
};

inline RandomWorld make_random_world(const RandomWorldOptions& options) {
  const NodeSpace space(std::vector<std::int64_t>(options.domains, options.users),
                        std::vector<std::int64_t>(options.domains, options.items));
  const Random random(options.seed, Purpose::synthetic);
  std::uint64_t id = 0;
  const auto member = [&](std::int64_t count, std::int64_t taste) {
    const double u = std::pow(random.uniform(id++), options.skew);
    const std::int64_t size = (count - taste + options.tastes - 1) / options.tastes;
    return taste + options.tastes * static_cast<std::int64_t>(u * static_cast<double>(size));
  };
  std::set<std::pair<std::int64_t, std::int64_t>> edges;
  for (int domain = 0; domain < options.domains; ++domain) {
    std::set<std::pair<std::int64_t, std::int64_t>> own;
    while (static_cast<std::int64_t>(own.size()) < options.interactions) {
      const auto taste = static_cast<std::int64_t>(random.index(options.tastes, id++));
      const bool leaves = random.uniform(id++) < 0.1;
      const auto other =
          leaves ? static_cast<std::int64_t>(random.index(options.tastes, id++)) : taste;
      own.emplace(value(space.user(domain, member(options.users, taste))),
                  value(space.item(domain, member(options.items, other))));
    }
    edges.insert(own.begin(), own.end());
  }
  const auto node = [](std::int64_t number) {
    return GlobalNode(static_cast<std::int32_t>(number));
  };
  Adjacency graph = symmetric_graph(space.nodes(), [&](const auto& use) {
    for (const auto& [user, item] : edges) use(node(user), node(item));
  });

  People people;
  const auto shared =
      static_cast<std::int64_t>(options.shared * static_cast<double>(options.users));
  people.count = options.users + (options.domains - 1) * (options.users - shared);
  std::int64_t next = options.users;
  for (int domain = 0; domain < options.domains; ++domain) {
    for (std::int64_t user = 0; user < options.users; ++user) {
      const bool is_shared = domain == 0 || user < shared;
      people.person.push_back(static_cast<std::int32_t>(is_shared ? user : next++));
    }
  }
  RandomWorld world{space, people, std::move(graph), {}, {}};
  for (std::int64_t n = 0; n < space.nodes(); ++n) {
    world.degree.push_back(static_cast<std::int32_t>(world.graph.degree(n)));
  }
  world.eligible.assign(static_cast<std::size_t>(space.nodes() - space.users()), 1);
  return world;
}

}  // namespace micrec
