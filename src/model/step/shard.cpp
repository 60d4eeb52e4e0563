#include "model/step/shard.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"

namespace micrec {
namespace {

/// Calls use(user node, item node) for every interaction of the graph.
template <typename Use>
void for_each_edge(const DatasetFile& dataset, const NodeSpace& space,
                   const std::vector<Split>& splits, const Use& use) {
  for (int domain = 0; domain < space.domains(); ++domain) {
    for (const Split split : splits) {
      dataset.for_each_interaction(domain, split, [&](std::int32_t user, std::int32_t item) {
        use(space.user(domain, user), space.item(domain, item));
      });
    }
  }
}

void link_people(Shard& shard) {
  const NodeSpace& space = shard.space();
  const std::vector<GlobalNode>& owned = shard.owned();
  std::vector<std::pair<std::int32_t, std::int32_t>> by_person;  // (person, owned row)
  for (std::size_t row = 0; row < owned.size() && space.is_user(owned[row]); ++row) {
    by_person.emplace_back(shard.summary->people.person[value(owned[row])],
                           static_cast<std::int32_t>(row));
  }
  std::sort(by_person.begin(), by_person.end());
  std::vector<std::int64_t> to, from;
  for (std::size_t begin = 0; begin < by_person.size();) {
    std::size_t end = begin;
    while (end < by_person.size() && by_person[end].first == by_person[begin].first) ++end;
    for (std::size_t a = begin; a < end; ++a) {
      for (std::size_t b = begin; b < end; ++b) {
        if (a == b) continue;
        to.push_back(by_person[a].second);
        from.push_back(by_person[b].second);
      }
    }
    begin = end;
  }
  shard.link_to = at::tensor(to, at::kLong);
  shard.link_from = at::tensor(from, at::kLong);
}

// Everything that follows from the layout alone.
void share_out(Shard& shard, Layout layout) {
  const int part = shard.rank();
  shard.grid = layout.grid;
  shard.reproducible = layout.reproducible;
  for (int p = 0; p < layout.grid.rows; ++p) {
    shard.summands_of_part.push_back(summands_of(layout, p).size());
  }
  const std::vector<GlobalNode> owned = layout.rows.nodes_of(part);
  const std::int64_t first_summand = summands_of(layout, part).begin;
  std::vector<std::int32_t> part_of_row;
  const int rank = layout.grid.rank_of(part, shard.column_part());
  for (const GlobalNode node : owned) {
    shard.summand_of_row.push_back(
        static_cast<std::int32_t>(layout.summands.owner[value(node)] - first_summand));
    const std::int32_t holder = layout.whole.owner[value(node)];
    part_of_row.push_back(layout.grid.column_part(holder));
    shard.whole_row_of.push_back(
        holder == rank ? static_cast<std::int32_t>(shard.whole_nodes.size()) : -1);
    if (holder == rank) shard.whole_nodes.push_back(node);
  }
  shard.summand_rows = group_rows(shard.summand_of_row, shard.summands_of_part[part]);
  shard.columns_of_rows = std::make_unique<ColumnExchange>(part_of_row, shard.columns);
  shard.ownership = std::move(layout.rows);
  shard.whole = std::move(layout.whole);
}

}  // namespace

std::vector<Split> splits_of(Observed observed) {
  if (observed == Observed::training) return {Split::train};
  return {Split::train, Split::later};
}

void move_to(Shard& shard, c10::Device device) {
  CHECK(!shard.reproducible || device.is_cpu());
  shard.device = device;
  for (at::Tensor* const tensor :
       {&shard.degree, &shard.inverse_sqrt_degree, &shard.training_degree, &shard.kind,
        &shard.item_domain, &shard.link_to, &shard.link_from}) {
    *tensor = tensor->to(device);
  }
}

bool is_stored_for_sums(double local_rows, double width) {
  constexpr double kSmallestBytes = 12 << 20;
  return local_rows * width * kFloatBytes >= kSmallestBytes;
}

void store_for_sums(Shard& shard, std::int64_t width) {
  const auto local_rows = static_cast<double>(shard.graph->local_rows());
  if (!shard.device.is_cpu() || !is_stored_for_sums(local_rows, static_cast<double>(width))) return;
  const std::vector<GlobalNode>& owned = shard.owned();
  const auto users = std::ranges::partition_point(
      owned, [&](GlobalNode node) { return shard.space().is_user(node); });
  shard.graph->store_near_rows_together(users - owned.begin());
}

std::vector<std::int32_t> whole_items(const Shard& shard) {
  std::vector<std::int32_t> items;
  for (const GlobalNode node : shard.whole_nodes) {
    if (shard.space().is_user(node)) continue;
    items.push_back(static_cast<std::int32_t>(value(node) - shard.space().users()));
  }
  return items;
}

at::Tensor inverse_sqrt(const at::Tensor& degree) {
  return at::where(degree > 0, degree.clamp_min(1).rsqrt(), at::zeros_like(degree));
}

NodeSpace node_space(const DatasetFile& dataset) {
  std::vector<std::int64_t> users, items;
  for (const DomainInfo& domain : dataset.domains()) {
    users.push_back(domain.users);
    items.push_back(domain.items);
  }
  return {users, items};
}

DatasetSummary summarise(const DatasetFile& dataset, Observed observed) {
  DatasetSummary summary{node_space(dataset), {}, {}, {}};
  summary.people.count = dataset.people();
  for (int domain = 0; domain < summary.space.domains(); ++domain) {
    const std::vector<std::int32_t> person = dataset.person_of_user(domain);
    summary.people.person.insert(summary.people.person.end(), person.begin(), person.end());
    std::int64_t& count = summary.training_interactions.emplace_back(0);
    for (const Split split : splits_of(observed)) {
      count += dataset.domains()[domain].interactions[static_cast<int>(split)];
    }
  }
  summary.training_degree.assign(summary.space.nodes(), 0);
  for_each_edge(dataset, summary.space, splits_of(observed), [&](GlobalNode user, GlobalNode item) {
    ++summary.training_degree[value(user)];
    ++summary.training_degree[value(item)];
  });
  return summary;
}

GridGroups split_world(Communicator& world, const ProcessGrid& grid) {
  CHECK_EQ(grid.ranks(), world.size());
  GridGroups groups;
  groups.world = groups.rows = &world;
  if (grid.columns == 1) return groups;
  const int rank = world.rank();
  groups.made.push_back(world.split("grid.rows", grid.column_part(rank)));
  groups.rows = groups.made.back().get();
  groups.columns = &world;
  if (grid.rows > 1) {
    groups.made.push_back(world.split("grid.columns", grid.row_part(rank)));
    groups.columns = groups.made.back().get();
  }
  CHECK_EQ(groups.rows->rank(), grid.row_part(rank));
  CHECK_EQ(groups.columns->rank(), grid.column_part(rank));
  return groups;
}

Shard load_shard(const DatasetFile& dataset, const DatasetSummary& summary, Ownership ownership,
                 Observed observed, Communicator& communicator) {
  GridGroups groups;
  groups.world = groups.rows = &communicator;
  Layout layout =
      make_layout(summary.space, summary.people, std::move(ownership), {communicator.size(), 1});
  return load_shard(dataset, summary, std::move(layout), observed, groups);
}

Shard load_shard(const DatasetFile& dataset, const DatasetSummary& summary, Layout layout,
                 Observed observed, const GridGroups& groups) {
  Shard shard;
  Communicator& communicator = *groups.rows;
  shard.summary = &summary;
  shard.communicator = groups.rows;
  shard.columns = groups.columns;
  shard.world = groups.world;
  share_out(shard, std::move(layout));
  const NodeSpace& space = summary.space;
  const std::vector<GlobalNode> owned = shard.ownership.nodes_of(communicator.rank());
  const auto rows = static_cast<std::int64_t>(owned.size());
  shard.row_of.assign(space.nodes(), -1);
  for (std::int64_t row = 0; row < rows; ++row) {
    shard.row_of[value(owned[row])] = static_cast<std::int32_t>(row);
  }

  const std::vector<Split> splits = splits_of(observed);
  Lists<GlobalNode> edges = lists_of<GlobalNode>(rows, [&](const auto& use) {
    for_each_edge(dataset, space, splits, [&](GlobalNode user, GlobalNode item) {
      if (const auto row = shard.row_of[value(user)]; row >= 0) use(row, item);
      if (const auto row = shard.row_of[value(item)]; row >= 0) use(row, user);
    });
  });
  const std::vector<std::int64_t>& offsets = edges.offsets;
  std::vector<GlobalNode>& neighbours = edges.values;
  if (splits.size() > 1) {  // each split is sorted by itself only
    parallel_for(rows, 1024, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        std::sort(neighbours.begin() + offsets[row], neighbours.begin() + offsets[row + 1]);
      }
    });
  }
  shard.graph = std::make_unique<ShardedGraph>(shard.ownership, edges, communicator);

  at::Tensor degree = at::empty({rows}, at::kFloat);
  shard.training_degree = at::empty({rows}, at::kFloat);
  shard.kind = at::zeros({rows, 2 * space.domains()}, at::kFloat);
  shard.item_domain = at::zeros({rows, space.domains()}, at::kFloat);
  for (std::int64_t row = 0; row < rows; ++row) {
    degree.data_ptr<float>()[row] = static_cast<float>(offsets[row + 1] - offsets[row]);
    shard.training_degree.data_ptr<float>()[row] =
        static_cast<float>(summary.training_degree[value(owned[row])]);
    const int domain = space.domain_of(owned[row]);
    const bool user = space.is_user(owned[row]);
    const int column = user ? domain : space.domains() + domain;
    shard.kind.data_ptr<float>()[row * 2 * space.domains() + column] = 1;
    if (!user) shard.item_domain.data_ptr<float>()[row * space.domains() + domain] = 1;
  }
  shard.degree = shard.graph->with_halo("halo.degree", degree);
  shard.inverse_sqrt_degree = inverse_sqrt(shard.degree);
  link_people(shard);
  return shard;
}

void declare_shard(const RankPlace& at, int domains, StepCosts& costs) {
  constexpr double kOffsetBytes = 8;
  const double local = at.rows() + at.halo_received();
  double bytes = kOffsetBytes * at.rows() + kNodeBytes * at.nonzeros();  // pattern
  // Owned, halo, lists of both.
  bytes += kNodeBytes * (2 * at.rows() + 2 * at.halo_received() + at.halo_sent());
  bytes += 2 * kFloatBytes * local;                      // degrees
  bytes += kFloatBytes * at.rows() * (1 + 3 * domains);  // one-hot kinds
  // Of all nodes on every rank: owner, row, degree; persons of users.
  const DatasetShape& dataset = at.of.dataset;
  bytes +=
      kNodeBytes * (3 * static_cast<double>(dataset.nodes) + static_cast<double>(dataset.users));
  // Sampling: user, item, number and order of each own interaction; what evaluation masks.
  const auto user_nonzeros = static_cast<double>(at.of.user_nonzeros[at.row]);
  bytes += user_nonzeros * (3 * kNodeBytes + kOffsetBytes);
  if (dataset.has_evaluation) bytes += user_nonzeros * kNodeBytes;
  costs.memory(MemoryKind::graph, bytes);
}

}  // namespace micrec
