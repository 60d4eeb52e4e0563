// What a step sends and what a rank holds at scale, computed by the program's own plan; nothing is
// trained and no rank is started:
//   benchmark_scaling [edges of the sample] [csv to write]
//
// Worlds of 10 million, 100 million and 1 billion interactions are planned from a sample with the
// same structure and fewer nodes: two domains, half of the people in both, power-law degrees of
// users and items, and tastes in two levels (32 of 32 each) that half of the interactions stay
// within and three in ten leave for the broader one. The number of tastes and the distribution of
// degrees are those of the large world. Which other parts a node's neighbours are in depends on
// its degree, its taste and the number of parts, not on how many such nodes there are, so rows,
// nonzeros and halo rows of a world `f` times as large are `f` times the sample's; a batch of B
// triples of it is planned as B / f triples of the sample. The last table holds that against a
// world of twice and four times the size that is planned whole.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/timer.h"
#include "model/step/step_shape.h"
#include "partition/metis_partition.h"
#include "partition/planning/run_plan.h"

namespace micrec {
namespace {

constexpr int kDomains = 2;
constexpr int kBroad = 32;                 // tastes ...
constexpr int kNarrow = 32;                // ... in each of which are as many
constexpr std::int64_t kUserDegree = 20;   // mean
constexpr std::int64_t kItemDegree = 100;  // mean
constexpr std::int64_t kBatch = 65'536;
constexpr std::int64_t kContrastive = 8'192;
constexpr int kDim = 64;
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr double kMB = 1e6;

struct World {
  NodeSpace space;
  People people;
  Adjacency graph;
  std::vector<std::int32_t> degree;
};

/// Nodes of one kind of one domain by taste, drawn in proportion to a power law.
class Population {
 public:
  Population(std::int64_t count, double exponent) : count_(count), exponent_(exponent) {}
  // Nodes are dealt out to the tastes in turn; within a taste the first are the most popular.
  std::int64_t draw(int tastes, int taste, double u) const {
    const std::int64_t size = (count_ - taste + tastes - 1) / tastes;
    const double at = std::pow(u, exponent_) * static_cast<double>(size);
    return taste + tastes * std::min(size - 1, static_cast<std::int64_t>(at));
  }

 private:
  std::int64_t count_;
  double exponent_;
};

World make_world(std::int64_t edges, std::uint64_t seed) {
  const std::int64_t per_domain = edges / kDomains;
  const std::int64_t users = per_domain / kUserDegree;
  const std::int64_t items = per_domain / kItemDegree;
  const NodeSpace space(std::vector<std::int64_t>(kDomains, users),
                        std::vector<std::int64_t>(kDomains, items));
  constexpr int kTastes = kBroad * kNarrow;
  const Population population(items, 2.0);
  std::vector<std::vector<std::int32_t>> chosen(space.users());
  for (int domain = 0; domain < kDomains; ++domain) {
    const Random random(seed, Purpose::synthetic, static_cast<std::uint32_t>(domain));
    for (std::int64_t user = 0; user < users; ++user) {
      // Degrees of a Pareto law with shape 1.8, from 8 up to 2,000; its mean is near 18.
      const double u = std::max(1e-9, random.uniform(user, 0));
      const auto degree =
          std::min<std::int64_t>(std::min<std::int64_t>(2000, items / 2),
                                 static_cast<std::int64_t>(9 * std::pow(u, -1 / 1.8)));
      // The first half of a domain's users are the same people everywhere, with one taste.
      const int taste = static_cast<int>(user % kTastes);
      std::unordered_set<std::int64_t> own;
      for (std::uint32_t draw = 1; static_cast<std::int64_t>(own.size()) < degree && draw < 20'000;
           draw += 2) {
        const double level = random.uniform(user, draw);
        const double place = random.uniform(user, draw + 1);
        // Narrow taste t belongs to the broad taste t % kBroad, as kBroad divides kTastes.
        if (level < 0.5) {
          own.insert(population.draw(kTastes, taste, place));
        } else if (level < 0.8) {
          own.insert(population.draw(kBroad, taste % kBroad, place));
        } else {
          own.insert(population.draw(1, 0, place));
        }
      }
      std::vector<std::int32_t>& list = chosen[space.users_of(domain).begin + user];
      for (const std::int64_t item : own) list.push_back(value(space.item(domain, item)));
      std::sort(list.begin(), list.end());
    }
  }
  Adjacency graph = symmetric_graph(space.nodes(), [&](const auto& use) {
    for (std::size_t user = 0; user < chosen.size(); ++user) {
      for (const std::int32_t item : chosen[user]) {
        use(GlobalNode(static_cast<std::int32_t>(user)), GlobalNode(item));
      }
    }
  });
  World world{space, {}, std::move(graph), {}};
  std::int64_t next = users;
  for (int domain = 0; domain < kDomains; ++domain) {
    for (std::int64_t user = 0; user < users; ++user) {
      const bool shared = domain == 0 || user < users / 2;
      world.people.person.push_back(static_cast<std::int32_t>(shared ? user : next++));
    }
  }
  world.people.count = next;
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    world.degree.push_back(static_cast<std::int32_t>(world.graph.degree(node)));
  }
  return world;
}

template <typename Number>
void scale(std::vector<Number>& numbers, double factor) {
  for (Number& number : numbers) {
    number = static_cast<Number>(static_cast<double>(number) * factor);
  }
}

void scale(StepNeeds& needs, double factor) {
  scale(needs.halo.sent, factor);
  scale(needs.halo.received, factor);
  for (auto* counts :
       {&needs.triples, &needs.wanted_rows, &needs.wanted_nonzeros, &needs.requested_items,
        &needs.items_sent, &needs.items_received, &needs.active_sent, &needs.active_received}) {
    scale(*counts, factor);
  }
  for (OverlapCounts& pair : needs.overlaps) {
    pair.people = static_cast<std::int64_t>(static_cast<double>(pair.people) * factor);
    scale(pair.people_of_part, factor);
    pair.chosen *= factor;
  }
}

struct Outcome {
  double halo_rows = 0;
  double total_bytes = 0;
  double most_bytes = 0;
  double most_memory = 0;
  double nonzeros_balance = 1;
};

/// Plans a world `factor` times the sample.
Outcome plan(const World& world, const Ownership& rows, ProcessGrid grid, double factor) {
  ModelShape model;
  model.config.dim = kDim;
  model.domains = kDomains;
  const BatchShape batch = {
      .triples = std::max<std::int64_t>(1, std::llround(static_cast<double>(kBatch) / factor)),
      .has_contrastive = true,
      .contrastive_batch =
          std::max<std::int64_t>(1, std::llround(static_cast<double>(kContrastive) / factor))};
  const StepShape shape = step_shape(model, batch);
  std::vector<RankLoad> loads = loads_of(world.space, rows, world.degree);
  std::vector<std::int64_t> user_nonzeros(grid.rows);
  for (std::int64_t user = 0; user < world.space.users(); ++user) {
    user_nonzeros[rows.owner[user]] += world.degree[user];
  }
  const std::vector<std::uint8_t> eligible(
      static_cast<std::size_t>(world.space.nodes() - world.space.users()), 1);
  StepNeeds needs =
      expected_needs(world.space, world.people, world.graph, eligible, rows, shape.batch);
  double most_nonzeros = 0;
  for (RankLoad& load : loads) {
    most_nonzeros = std::max(most_nonzeros, static_cast<double>(load.nonzeros));
    load.users = static_cast<std::int64_t>(static_cast<double>(load.users) * factor);
    load.items = static_cast<std::int64_t>(static_cast<double>(load.items) * factor);
    load.nonzeros = static_cast<std::int64_t>(static_cast<double>(load.nonzeros) * factor);
  }
  scale(user_nonzeros, factor);
  scale(needs, factor);
  DatasetShape dataset;
  dataset.nodes = static_cast<std::int64_t>(static_cast<double>(world.space.nodes()) * factor);
  dataset.users = static_cast<std::int64_t>(static_cast<double>(world.space.users()) * factor);
  for (int domain = 0; domain < kDomains; ++domain) {
    dataset.items_of_domain.push_back(static_cast<std::int64_t>(
        static_cast<double>(world.space.items_of(domain).size()) * factor));
  }
  const std::vector<StepCosts> costs =
      costs_of_ranks(shape, grid, {loads, user_nonzeros, needs, {}, dataset});
  const BytePlan bytes = plan_bytes(costs);
  const std::vector<RankMemory> memory = plan_memory(shape, costs, dataset);
  Outcome outcome;
  outcome.halo_rows = static_cast<double>(needs.halo.total());
  outcome.total_bytes = bytes.total();
  outcome.most_bytes = bytes.most();
  for (const RankMemory& rank : memory) {
    outcome.most_memory = std::max(outcome.most_memory, rank.peak());
  }
  outcome.nonzeros_balance =
      most_nonzeros * grid.rows / static_cast<double>(world.graph.nonzeros());
  return outcome;
}

/// As many column parts as 64 columns have, or as there are ranks.
ProcessGrid columns_grid(int ranks) {
  const int columns = std::min(ranks, kDim);
  return {ranks / columns, columns};
}

/// Eight column parts of METIS' row parts: columns where they are cheap, rows where memory asks.
ProcessGrid mixed_grid(int ranks) { return {ranks / 8, 8}; }

void run(std::int64_t edges, const char* csv_path) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const World world = make_world(edges, 1);
  const auto interactions = static_cast<double>(world.graph.nonzeros()) / 2;
  std::printf("sample: %.2f million interactions of %.0f thousand users with %.0f thousand items\n",
              interactions / 1e6, static_cast<double>(world.space.users()) / 1e3,
              static_cast<double>(world.space.nodes() - world.space.users()) / 1e3);
  std::FILE* csv = csv_path != nullptr ? std::fopen(csv_path, "w") : nullptr;
  if (csv_path != nullptr && csv == nullptr) {
    std::fprintf(stderr, "cannot write %s\n", csv_path);
    std::exit(4);
  }
  if (csv != nullptr) {
    std::fprintf(csv,
                 "interactions,ranks,way,grid,halo_rows,bytes_a_step,bytes_of_busiest_rank,"
                 "memory_of_fullest_rank,nonzeros_balance\n");
  }
  std::printf(
      "\n| ranks | way | grid | 10 M: MB a step, GiB | 100 M: MB a step, GiB | 1 G: MB a "
      "step, GiB | nonzeros | made in |\n|---|---|---|---|---|---|---|---|\n");
  for (int ranks = 8; ranks <= 1024; ranks *= 2) {
    struct Way {
      const char* name;
      ProcessGrid grid;
      bool metis;
    };
    for (const Way& way : {Way{"hash", {ranks, 1}, false}, Way{"METIS", {ranks, 1}, true},
                           Way{"columns", columns_grid(ranks), false},
                           Way{"METIS and columns", mixed_grid(ranks), true}}) {
      const Timer timer;
      const Ownership rows =
          way.metis ? assign_by_metis(world.space, world.people, world.graph, way.grid.rows)
                    : assign_by_hash(world.space, world.people, way.grid.rows);
      const double seconds = timer.seconds();
      std::printf("| %d | %s | %s ", ranks, way.name, to_text(way.grid).c_str());
      double balance = 1;
      for (const double target : {1e7, 1e8, 1e9}) {
        const Outcome outcome = plan(world, rows, way.grid, target / interactions);
        balance = outcome.nonzeros_balance;
        std::printf("| %.1f, %.2f ", outcome.most_bytes / kMB, outcome.most_memory / kGiB);
        if (csv != nullptr) {
          std::fprintf(csv, "%.0f,%d,%s,%s,%.0f,%.0f,%.0f,%.0f,%.4f\n", target, ranks, way.name,
                       to_text(way.grid).c_str(), outcome.halo_rows, outcome.total_bytes,
                       outcome.most_bytes, outcome.most_memory, outcome.nonzeros_balance);
        }
      }
      std::printf("| %.3f | %.1f s |\n", balance, seconds);
    }
  }
  if (csv != nullptr) std::fclose(csv);

  std::printf(
      "\nhalo rows of larger worlds, planned whole, over those scaled from the sample:\n"
      "| world | ranks | hash | METIS |\n|---|---|---|---|\n");
  for (const int times : {2, 4}) {
    const World larger = make_world(times * edges, 1);
    const double factor =
        static_cast<double>(larger.graph.nonzeros()) / static_cast<double>(world.graph.nonzeros());
    for (const int ranks : {8, 64, 512}) {
      const auto halo = [&](const World& of, bool metis) {
        const Ownership rows = metis ? assign_by_metis(of.space, of.people, of.graph, ranks)
                                     : assign_by_hash(of.space, of.people, ranks);
        return static_cast<double>(count_halo(of.graph, rows).total());
      };
      std::printf("| %d times | %d | %.3f | %.3f |\n", times, ranks,
                  halo(larger, false) / (factor * halo(world, false)),
                  halo(larger, true) / (factor * halo(world, true)));
    }
  }
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  // Every taste needs items.
  micrec::run(std::max(20'000LL, argc > 1 ? std::atoll(argv[1]) : 2'000'000LL),
              argc > 2 ? argv[2] : nullptr);
  return 0;
}
