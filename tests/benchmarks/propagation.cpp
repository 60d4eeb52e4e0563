// What sharding a propagation over ranks costs: forward for the rows of a batch, and backward.
//
//   mpirun -np RANKS build/benchmark_propagation [USERS ITEMS EDGES DIM LAYERS STEPS PARTS]
//
// A random graph of gowalla's size by default, its users and items as popular as 1 / their number,
// over which METIS has nothing to gain: nearly every row is in every halo. PARTS: of an exchange;
// 0: as many as it finds right. Prints wall and processor milliseconds a step and what the ledger
// says.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <type_traits>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "graph/operators.h"
#include "tests/benchmarks/processor_seconds.h"

namespace micrec {
namespace {

struct Setting {
  std::int64_t users = 29'858;
  std::int64_t items = 40'981;
  std::int64_t edges = 810'128;
  std::int64_t dim = 64;
  int layers = 3;
  int steps = 30;
  int parts = 0;
};

// Edge e's ends, so that a node of half the number is about twice as popular.
std::vector<std::vector<std::int32_t>> random_graph(const Setting& setting) {
  const Random random(7, Purpose::synthetic);
  const auto popular = [](double uniform, std::int64_t count) {
    return std::min(count - 1, static_cast<std::int64_t>(std::pow(count, uniform)));
  };
  std::vector<std::vector<std::int32_t>> lists(setting.users + setting.items);
  for (std::int64_t e = 0; e < setting.edges; ++e) {
    // Half of the ends at random keep the degrees of the many small nodes near the mean.
    const double u = random.uniform(4 * e);
    const double i = random.uniform(4 * e + 1);
    const std::int64_t user =
        e % 2 == 0 ? popular(u, setting.users) : static_cast<std::int64_t>(u * setting.users);
    const std::int64_t item =
        e % 4 < 2 ? popular(i, setting.items) : static_cast<std::int64_t>(i * setting.items);
    lists[user].push_back(static_cast<std::int32_t>(setting.users + item));
    lists[setting.users + item].push_back(static_cast<std::int32_t>(user));
  }
  for (std::vector<std::int32_t>& list : lists) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return lists;
}

int measure(const Setting& setting, Job& job) {
  Communicator& communicator = job.communicator();
  const std::vector<std::vector<std::int32_t>> lists = random_graph(setting);
  Ownership ownership{job.world_size(), {}};
  for (std::size_t node = 0; node < lists.size(); ++node) {
    ownership.owner.push_back(
        static_cast<std::int32_t>(mix(static_cast<std::uint32_t>(node)) % job.world_size()));
  }
  const std::vector<GlobalNode> owned = ownership.nodes_of(job.rank());
  Lists<GlobalNode> rows;
  for (const GlobalNode node : owned) {
    for (const std::int32_t other : lists[value(node)]) rows.values.push_back(GlobalNode(other));
    rows.offsets.push_back(std::ssize(rows.values));
  }
  const ShardedGraph graph(ownership, rows, communicator, setting.parts);
  at::Tensor q = at::zeros({graph.local_rows()});
  for (std::int64_t row = 0; row < graph.local_rows(); ++row) {
    const auto degree = static_cast<double>(lists[value(graph.local_to_global()[row])].size());
    q[row] = degree > 0 ? 1 / std::sqrt(degree) : 0;
  }
  std::vector<std::int32_t> batch;  // about 3 x 2048 rows over all ranks
  for (std::int32_t row = 0; row < graph.owned_rows(); ++row) {
    if (mix(static_cast<std::uint32_t>(value(owned[row])) + 1) % 12 == 0) batch.push_back(row);
  }

  const auto wanted = select_rows(graph.owned_rows(), batch);
  at::Tensor e = at::randn({graph.owned_rows(), setting.dim}).set_requires_grad(true);
  const auto step = [&] {
    const at::Tensor z =
        propagate(graph, e, q, setting.layers, graph.plan_active("halo.propagate.active", wanted));
    z.backward(z.detach());
    e.mutable_grad() = at::Tensor();
  };
  step();
  communicator.barrier("benchmark.start");
  const LedgerEntries before = communicator.ledger().snapshot();
  const double processor_before = processor_seconds();
  const Timer timer;
  for (int s = 0; s < setting.steps; ++s) step();
  communicator.barrier("benchmark.end");
  const double wall = timer.seconds();
  at::Tensor processor = at::full({1}, processor_seconds() - processor_before, at::kDouble);
  const auto entries = over_ranks(communicator, since(before, communicator.ledger().snapshot()));
  communicator.all_reduce("benchmark.processor", processor);
  if (job.rank() != 0) return 0;
  std::printf("%d ranks, %d parts: %.1f ms a step, %.1f ms of processors\n", job.world_size(),
              graph.parts(), 1e3 * wall / setting.steps,
              1e3 * processor.item<double>() / setting.steps);
  for (const auto& [name, entry] : entries) {
    if (!name.starts_with("halo")) continue;
    const double ranks_steps = job.world_size() * setting.steps;
    std::printf("  %-24s %10s a step, %5.1f calls, %6.2f ms waited, %6.2f ms hidden\n",
                name.c_str(),
                in_bytes(static_cast<double>(entry.total.bytes_sent) / setting.steps).c_str(),
                static_cast<double>(entry.total.calls) / ranks_steps,
                1e3 * entry.total.waited_seconds / ranks_steps,
                1e3 * entry.total.hidden_seconds / ranks_steps);
  }
  return 0;
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  using micrec::parse_integer;
  micrec::Setting setting;
  std::vector<std::int64_t> given;
  for (int a = 1; a < argc; ++a) given.push_back(parse_integer(argv[a]).value_or(0));
  const auto take = [&](std::size_t place, auto& number) {
    if (place < given.size()) {
      number = static_cast<std::remove_reference_t<decltype(number)>>(given[place]);
    }
  };
  take(0, setting.users);
  take(1, setting.items);
  take(2, setting.edges);
  take(3, setting.dim);
  take(4, setting.layers);
  take(5, setting.steps);
  take(6, setting.parts);
  micrec::JobOptions options;
  options.program = "benchmark_propagation";
  return micrec::run_job(options, [&](micrec::Job& job) { return micrec::measure(setting, job); });
}
